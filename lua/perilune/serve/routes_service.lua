-- SPDX-License-Identifier: Apache-2.0
--
-- /v1: the daemon itself, the stream of events, templates, and the maps of the machine.
local child = require "perilune.core.child"
local json = require "perilune.base.json"
local loop = require "perilune.core.loop"
local openapi = require "perilune.serve.openapi"
local schemas = require "perilune.serve.schemas"
local template = require "perilune.probe.template"
local words = require "perilune.base.words"

local routes = {}

local function add(route) routes[#routes + 1] = route end

-- ---------------------------------------------------------------------------------------------- the daemon

add {
  method = "GET", path = "/v1/health", role = "none", summary = "whether all is well",
  answers = { [200] = { help = "the daemon answers; degraded: a policy has failed", schema = schemas.ref "Health" } },
  run = function(call)
    local status = "ok"
    call.context.policies:each(function(one)
      if one.state == "failed" then status = "degraded" end
    end)
    call:json(200, { status = status })
  end,
}

add {
  method = "GET", path = "/v1/service", role = "read", summary = "the daemon, and who it takes you for",
  answers = { [200] = { help = "the daemon", schema = schemas.ref "Service" } },
  run = function(call)
    local context, who = call.context, call.who
    call:json(200, {
      version = context.version, host = context.labels.host, site = context.labels.site, pid = loop.pid(),
      uptime_seconds = loop.now() - context.began, policies = #context.policies:names(),
      you = { name = who.name, role = who.role, by = who.by },
    })
  end,
}

add {
  method = "POST", path = "/v1/reload", role = "admin",
  summary = "read configuration, credentials and policies again; each policy is replaced without losing a packet",
  answers = { [200] = { help = "read again; problems: what stays as it was", schema = schemas.ref "Reloaded" } },
  run = function(call)
    call.context.reload(call:guard(function(problems, report)
      if not problems then return call:problem(422, report) end
      call:json(200, { problems = json.array(problems), policies = json.array(report) })
    end))
  end,
}

add {
  method = "GET", path = "/v1/openapi.json", role = "read", summary = "this interface, as an OpenAPI document",
  answers = { [200] = { help = "OpenAPI 3.1", schema = { type = "object" } } },
  run = function(call)
    local context = call.context
    if not context.openapi then
      local file = assert(io.open(context.share .. "/lua/perilune/event.schema.json"))
      local schema = assert(json.decode(file:read "*a"))
      file:close()
      context.openapi = json.encode(openapi.document(context.routes, context.version, schema))
    end
    call:text(200, "application/json", context.openapi)
  end,
}

-- ---------------------------------------------------------------------------------------------- the stream

local EVENTS = { "start", "attach", "detach", "window", "rule", "transition", "action", "budget", "emit", "capture",
  "delivery", "reload", "error", "summary" }

-- "window,transition" → a set | nil, message
local function event_set(text)
  local known, set = {}, {}
  for _, name in ipairs(EVENTS) do known[name] = true end
  for name in text:gmatch "[^,]+" do
    if not known[name] then return nil, ("events: %s is none (%s)"):format(name, table.concat(EVENTS, ", ")) end
    set[name] = true
  end
  return set
end

add {
  method = "GET", path = "/v1/stream", role = "read",
  summary = "events as they happen, as server-sent events; `lost` says how many a slow listener has missed",
  query = {
    policy = { help = "only of this policy" },
    events = { help = "only these, with commas between them: " .. table.concat(EVENTS, " ") },
    records = { type = "boolean", help = "also the records of every window" },
  },
  answers = { [200] = { help = "a stream without an end", type = "text/event-stream" } },
  run = function(call)
    local query, set = call.query, nil
    if query.events then
      local message
      set, message = event_set(query.events)
      if not set then return call:problem(400, message) end
    end
    if query.policy and not call.context.policies:get(query.policy) then
      return call:problem(404, "there is no such policy")
    end
    local filter = { policy = query.policy, events = set, records = query.records }
    if not call.context.hub:listen(call, filter) then
      call:problem(503, "there are as many listeners as there may be")
    end
  end,
}

-- ---------------------------------------------------------------------------------------------- templates

add {
  method = "GET", path = "/v1/templates", role = "read", summary = "what probes can be made of",
  answers = { [200] = { help = "the templates", schema = schemas.list_of(schemas.ref "Template", "templates") } },
  run = function(call)
    local list = {}
    for _, name in ipairs(call.context.templates:names()) do
      local manifest = call.context.templates:get(name)
      if manifest then
        list[#list + 1] = { name = name, help = manifest.help, rows = manifest.rows == true,
          hooks = json.array { unpack(manifest.hooks) } }
      end
    end
    call:json(200, { templates = json.array(list) })
  end,
}

local function field_of(field)
  return { name = field.name, unit = field.unit, help = field.help, feature = field.feature, list = field.list }
end

local function features_of(manifest)
  local out = {}
  for i, name in ipairs(words.keys(manifest.features)) do
    out[i] = { name = name, help = manifest.features[name].help }
  end
  return json.array(out)
end

local function knobs_of(manifest)
  local out = {}
  for i, name in ipairs(words.keys(manifest.knobs)) do
    local knob = manifest.knobs[name]
    out[i] = { name = name, type = knob.type, unit = knob.unit, help = knob.help, min = knob.min, max = knob.max }
    if type(knob.default) ~= "table" then out[i].default = knob.default end
  end
  return json.array(out)
end

add {
  method = "GET", path = "/v1/templates/{name}", role = "read", summary = "a template: its fields, features and knobs",
  answers = { [200] = { help = "the template", schema = schemas.ref "TemplateDetail" } },
  run = function(call)
    local registry, name = call.context.templates, call.parameters.name
    local known = false
    for _, one in ipairs(registry:names()) do known = known or one == name end
    if not known then
      return call:problem(404, ("there is no template %s (%s)"):format(name,
        words.suggest(name:sub(1, 64), registry:names())))
    end
    local manifest, message = registry:get(name)
    if not manifest then return call:problem(503, message) end
    local fields = {}
    for i, field in ipairs(template.fields(manifest, words.keys(manifest.key and manifest.key.choices or {}),
      words.keys(manifest.features))) do fields[i] = field_of(field) end
    call:json(200, {
      name = name, help = manifest.help, rows = manifest.rows == true, hooks = json.array { unpack(manifest.hooks) },
      fields = json.array(fields), features = features_of(manifest), knobs = knobs_of(manifest),
    })
  end,
}

-- ---------------------------------------------------------------------------------------------- maps

local MOST_DUMPS = 4 -- processes that read maps for clients at a time
local KEPT = 1024 * 1024 -- bytes that wait for a client before the reading pauses
local ERRORS_KEPT = 4096

-- The map commands' exit statuses: 2 is a wrong word, 3 not permitted or not readable.
local function refusal(text)
  if text:find "no map" or text:find "no such" or text:find "there is no" then return 404 end
  return 503
end

-- Runs `perilune map …` and hands on what it writes, at the client's pace. The status is known with the first byte.
local function relay(call, arguments)
  local context = call.context
  if context.dumps >= MOST_DUMPS then return call:problem(503, "other maps are being read (try again)") end
  local program, message = child.program()
  if not program then return call:problem(503, message) end
  local process
  local pending, paused, errors, streaming = {}, false, "", false
  local function flush()
    while pending[1] do
      local ok, _, code = call.request:write(pending[1])
      if not ok and code == "ENOBUFS" then return false end
      table.remove(pending, 1)
    end
    return true
  end
  local function drained()
    if flush() and paused then
      paused = false
      process:resume()
    end
  end
  local function hear(fd, bytes)
    if fd == 2 then
      errors = (errors .. bytes):sub(1, ERRORS_KEPT)
      return
    end
    if not streaming then
      streaming = call:stream(200, { { "Content-Type", "application/json" } }, { ceiling = KEPT, drained = drained })
      if not streaming then return process:kill() end
      call.request:on_gone(function() process:kill() end)
    end
    pending[#pending + 1] = bytes
    if not flush() and not paused then
      paused = true
      process:pause()
    end
  end
  local function ended(status, signal)
    context.dumps = context.dumps - 1
    if not streaming then
      local text = errors:gsub("^perilune: ", ""):gsub("%s+$", "")
      return call:problem(refusal(text), text ~= "" and text or "the map could not be read")
    end
    if status == 0 then return call.request:finish() end
    context.log:debug("a map was not read to its end", { status = status, signal = signal, error = errors })
    call.request:abort()
  end
  local argv = { program, "map", unpack(arguments) }
  process, message = child.start({ argv = argv, output = call:guard(hear) }, call:guard(ended))
  if not process then return call:problem(503, message) end
  context.dumps = context.dumps + 1
end

add {
  method = "GET", path = "/v1/maps", role = "read", summary = "the BPF maps of the machine, whoever made them",
  answers = { [200] = { help = "the maps", schema = { type = "array", items = schemas.ref "Map" } } },
  run = function(call) relay(call, { "list", "--json" }) end,
}

add {
  method = "GET", path = "/v1/maps/{id}", role = "operate", summary = "what is in a map, decoded by its BTF",
  query = {
    limit = { type = "integer", minimum = 1, help = "no more entries than this" },
    fold = { enum = { "sum", "min", "max", "last" }, help = "one value of those of a per-CPU map's CPUs" },
  },
  answers = { [200] = { help = "the entries", schema = { type = "array", items = { type = "object" } } } },
  run = function(call)
    local id = call.parameters.id
    if not id:find "^[1-9]%d*$" or #id > 10 then return call:problem(404, "a map's id is a number above 0") end
    local arguments = { "dump", "id", id, "--json" }
    if call.query.limit then arguments[#arguments + 1] = ("--limit=%d"):format(call.query.limit) end
    if call.query.fold then arguments[#arguments + 1] = "--fold=" .. call.query.fold end
    relay(call, arguments)
  end,
}

return routes
