-- SPDX-License-Identifier: Apache-2.0
--
-- /v1/policies: what runs, how it stands, and everything that changes it.
local json = require "perilune.base.json"
local policies = require "perilune.serve.policies"
local schemas = require "perilune.serve.schemas"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local routes = {}

local LONGEST_FORCED = 366 * 86400 -- seconds
local ANSWER_SECONDS = 5 -- for what a policy's process is asked
local FRESH_SECONDS = 0.1 -- how old what many ask may be
local WINDOW_SECONDS, LONGEST_WAIT = 60, 300 -- for a window to close, beyond its own length; and at most

local function add(route) routes[#routes + 1] = route end

-- ---------------------------------------------------------------------------------------------- how it stands

local function attachments_of(one)
  local out = {}
  for i, key in ipairs(words.keys(one.attachments or {})) do out[i] = one.attachments[key] end
  return json.array(out)
end

local function summary(one)
  local newest = one.windows:newest()
  return json.object {
    { "name", one.name }, { "state", one.state }, { "origin", one.origin }, { "level", one.level },
    { "levels", one.levels and json.array { unpack(one.levels) } or json.array {} },
    { "attachments", attachments_of(one) }, { "started", one.started },
    { "restarts", one.restarts }, { "failure", one.state == "failed" and one.failure or nil },
    { "last_window_seq", newest and newest.seq },
  }
end

local function texts(list)
  local out = {}
  for i, item in ipairs(list) do out[i] = json.raw(item.text) end
  return json.array(out)
end

-- The policy that the path names; answers 404 when there is none.
local function policy_of(call)
  local name = call.parameters.name
  local one = call.context.policies:get(name)
  if one then return one end
  call:problem(404, ("there is no policy %s (%s)"):format(name,
    words.suggest(name:sub(1, policies.LONGEST_NAME), call.context.policies:names(), "there are none")))
end

-- Hands on what a process answered.
local STATUS = { ENOENT = 404, EINVAL = 400, EAGAIN = 503, ECHILD = 503, ETIME = 504, ENOBUFS = 503, ENOSYS = 503 }

-- For Worker:ask: ok(text), or the answer is a problem.
local function hand_on(call, ok)
  return call:guard(function(answer)
    if answer.ok then return ok(answer.text) end
    call:problem(STATUS[answer.code] or 503, answer.message or "the policy answered nothing that can be read")
  end)
end

-- What a policy says of itself (remote_show.lua), asked for at most a few times a second.
local function ask_state(call, one, ok)
  one:ask_shared("show", FRESH_SECONDS, ANSWER_SECONDS, hand_on(call, function(text) ok(json.decode(text)) end))
end

add {
  method = "GET", path = "/v1/policies", role = "read", summary = "all policies, and how they stand",
  answers = { [200] = { help = "the policies", schema = schemas.list_of(schemas.ref "Policy") } },
  run = function(call)
    local list = {}
    call.context.policies:each(function(one) list[#list + 1] = summary(one) end)
    call:json(200, { policies = json.array(list) })
  end,
}

add {
  method = "GET", path = "/v1/policies/{name}", role = "read",
  summary = "a policy: its levels, probes, rules, sets, options, and how it stands",
  answers = { [200] = { help = "the policy", schema = schemas.ref "PolicyDetail" } },
  run = function(call)
    local one = policy_of(call)
    if not one then return end
    if one.state ~= "running" then return call:json(200, summary(one)) end
    ask_state(call, one, function(state)
      local members = summary(one)
      for _, name in ipairs { "attach", "probes", "rules", "sets", "options", "claims" } do
        members[#members + 1] = { name, json.raw(state[name]) }
      end
      for _, pair in ipairs(members) do
        if pair[1] == "levels" then pair[2] = json.raw(state.levels) end
      end
      call:json(200, members)
    end)
  end,
}

for _, part in ipairs { "probes", "levels", "rules", "sets", "options" } do
  add {
    method = "GET", path = "/v1/policies/{name}/" .. part, role = "read", summary = "the " .. part .. " of a policy",
    answers = { [200] = { help = "the list", schema = schemas.ref(part:sub(1, 1):upper() .. part:sub(2)) } },
    run = function(call)
      local one = policy_of(call)
      if not one then return end
      ask_state(call, one, function(state) call:json(200, { [part] = json.raw(state[part]) }) end)
    end,
  }
end

add {
  method = "GET", path = "/v1/policies/{name}/sets/{set}", role = "read", summary = "who is in a set of a policy",
  answers = { [200] = { help = "its members, sorted", schema = schemas.ref "Members" } },
  run = function(call)
    local one, name = policy_of(call), call.parameters.set
    if not one then return end
    ask_state(call, one, function(state)
      local names = {}
      for i, set in ipairs(json.decode(state.sets)) do names[i], names[set.name] = set.name, true end
      if not names[name] then
        return call:problem(404, ("%s has no set %s (%s)"):format(one.name, name,
          words.suggest(name:sub(1, policies.LONGEST_NAME), names, "it has none")))
      end
      one:ask_shared("members", FRESH_SECONDS, ANSWER_SECONDS, hand_on(call, function(text)
        call:json(200, json.raw(text))
      end), { set = name }, name)
    end)
  end,
}

add {
  method = "GET", path = "/v1/policies/{name}/source", role = "read", summary = "the text of a policy",
  answers = { [200] = { help = "Lua", type = "text/x-lua" } },
  run = function(call)
    local one = policy_of(call)
    if not one then return end
    local file, message = io.open(one.file, "rb")
    if not file then return call:problem(503, message) end
    local text = file:read "*a"
    file:close()
    call:text(200, "text/x-lua", text)
  end,
}

local LIMIT = { type = "integer", minimum = 1, maximum = 256, help = "how many, the newest (all that are kept)" }

for part, help in pairs {
  windows = "the last windows that closed, oldest first", transitions = "the last changes of level, oldest first",
  errors = "the last errors, oldest first",
} do
  local schema = ({ windows = "window", transitions = "transition", errors = "error" })[part]
  add {
    method = "GET", path = "/v1/policies/{name}/" .. part, role = "read", summary = help, query = { limit = LIMIT },
    answers = { [200] = { help = "events", schema = schemas.list_of(schemas.event(schema), part) } },
    run = function(call)
      local one = policy_of(call)
      if one then call:json(200, { [part] = texts(one[part]:list(call.query.limit)) }) end
    end,
  }
end

-- ---------------------------------------------------------------------------------------------- windows to come

-- The longest that a window of this policy may take to close.
local function window_seconds(state)
  return math.min(state.window_seconds + WINDOW_SECONDS, LONGEST_WAIT)
end

local function next_window(verb)
  return function(call)
    local one = policy_of(call)
    if not one then return end
    ask_state(call, one, function(state)
      local answer = hand_on(call, function(text) call:json(200, json.raw(text)) end)
      if verb == "records" then return one:ask_shared(verb, 0, window_seconds(state), answer) end
      one:ask(verb, nil, window_seconds(state), answer)
    end)
  end
end

add {
  method = "GET", path = "/v1/policies/{name}/records", role = "read",
  summary = "the next window that closes, with its records; waits for it",
  answers = { [200] = { help = "the window and its records", schema = schemas.ref "WindowWithRecords" } },
  run = next_window "records",
}

add {
  method = "POST", path = "/v1/policies/{name}/drain", role = "operate",
  summary = "close the window now, and give it with its records",
  answers = { [200] = { help = "the window and its records", schema = schemas.ref "WindowWithRecords" } },
  run = next_window "drain",
}

-- ---------------------------------------------------------------------------------------------- levels

add {
  method = "PUT", path = "/v1/policies/{name}/level", role = "operate",
  summary = "force a level: this one and no other, for a time or until it is let go",
  body = { type = "application/json", schema = schemas.ref "ForceLevel" },
  answers = { [200] = { help = "it is forced", schema = schemas.ref "ForcedLevel" } },
  run = function(call)
    local one, body = policy_of(call), call.body
    if not one then return end
    for key in pairs(body) do
      if key ~= "level" and key ~= "for" then
        return call:problem(400, ("there is no member %s here (level, for)"):format(tostring(key)))
      end
    end
    if type(body.level) ~= "string" then return call:problem(400, 'level: the name of a level is missing') end
    local seconds, message
    if body["for"] ~= nil then
      seconds, message = units.parse(body["for"], "duration")
      if not seconds or seconds <= 0 or seconds > LONGEST_FORCED then
        return call:problem(400, ('for: %s (like "10m")'):format(message or "more than nothing, at most a year"))
      end
    end
    one:ask("level", { level = body.level, seconds = seconds }, ANSWER_SECONDS, hand_on(call, function(text)
      call.context.log:info("level forced", { policy = one.name, level = body.level, seconds = seconds,
        by = call.who.name })
      call:json(200, json.raw(text))
    end))
  end,
}

add {
  method = "DELETE", path = "/v1/policies/{name}/level", role = "operate", summary = "let go of a forced level",
  answers = { [204] = { help = "it is not forced any more" } },
  run = function(call)
    local one = policy_of(call)
    if not one then return end
    one:ask("unpin", nil, ANSWER_SECONDS, hand_on(call, function() call:answer(204, {}, "") end))
  end,
}

-- ---------------------------------------------------------------------------------------------- create and change

-- Text and values of a body: Lua, or { text, set }; nil, message.
local function definition(call)
  local body = call.body
  if type(body) == "string" then return body, {} end
  for key in pairs(body) do
    if key ~= "text" and key ~= "set" and key ~= "name" then
      return nil, ("there is no member %s here (name, text, set)"):format(tostring(key))
    end
  end
  if type(body.text) ~= "string" then return nil, "text: the text of the policy is missing" end
  local set = {}
  for name, value in pairs(type(body.set) == "table" and body.set or {}) do
    if type(name) ~= "string" or type(value) == "table" or not name:find "^[%w_.-]+$" or value == json.null then
      return nil, "set: an object of options and their values expected"
    end
    set[name] = tostring(value)
  end
  return body.text, set
end

-- What the exit status or the errno of a failed start means to a client.
local REFUSED = { [2] = 422, [3] = 409, EBUSY = 409, EPERM = 409, EINVAL = 422, ENOEXEC = 422, ENODEV = 422,
  ENOENT = 422, E2BIG = 422, ETIME = 504 }

local function put(call, name, created)
  local text, set = definition(call)
  if not text then return call:problem(400, set) end
  call.context.policies:put(name, text, set, call:guard(function(one, how, code)
    if not one then return call:problem(REFUSED[code] or 503, how) end
    call.context.log:info(created and "policy created" or "policy replaced", { policy = name, by = call.who.name,
      beside = how and how.why })
    local members = summary(one)
    members[#members + 1] = { "replacement", how }
    call:json(created and 201 or 200, members, created and { { "Location", "/v1/policies/" .. name } } or nil)
  end))
end

local function is_name(name)
  return type(name) == "string" and #name <= policies.LONGEST_NAME and name:find(policies.NAME) ~= nil
end

local NOT_A_NAME = "a name has letters, digits, - and _, begins with a letter, and is at most 31 long"

local CHANGED = { help = "attached", schema = schemas.ref "Policy" }
local DEFINITION = { type = { "text/x-lua", "text/plain", "application/octet-stream", "application/json" },
  schema = schemas.ref "PolicyDefinition" }

add {
  method = "POST", path = "/v1/policies", role = "admin", summary = "create a policy", body = {
    type = "application/json", schema = schemas.ref "NewPolicy",
  },
  answers = { [201] = CHANGED },
  run = function(call)
    local name = call.body.name
    if not is_name(name) then return call:problem(400, "name: " .. NOT_A_NAME) end
    if call.context.policies:get(name) then
      return call:problem(409, ("there is a policy %s (PUT replaces it)"):format(name))
    end
    put(call, name, true)
  end,
}

add {
  method = "PUT", path = "/v1/policies/{name}", role = "admin",
  summary = "create a policy, or replace one without losing a packet; whatever fails, the old one runs on",
  body = DEFINITION,
  answers = { [200] = CHANGED, [201] = CHANGED },
  run = function(call)
    local name = call.parameters.name
    if not is_name(name) then return call:problem(400, NOT_A_NAME) end
    put(call, name, call.context.policies:get(name) == nil)
  end,
}

add {
  method = "DELETE", path = "/v1/policies/{name}", role = "admin", summary = "detach a policy and forget it",
  answers = { [204] = { help = "it is gone" } },
  run = function(call)
    local one = policy_of(call)
    if not one then return end
    call.context.policies:delete(one.name, call:guard(function(ok, message)
      if not ok then return call:problem(409, message) end
      call.context.log:info("policy deleted", { policy = one.name, by = call.who.name })
      call:answer(204, {}, "")
    end))
  end,
}

return routes
