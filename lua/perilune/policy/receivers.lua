-- SPDX-License-Identifier: Apache-2.0
--
-- Receivers: who is told when a rule fires and when it clears.
--
--   receiver "soc" {
--     webhook = "https://soc.example.org/hook",         -- or command = { "/usr/local/bin/page", "night" }
--     headers = { Authorization = { file = "/etc/perilune/soc.token", prefix = "Bearer " } },
--     group   = "30s",        -- what fires within that time is one message; without it, what one window brings
--     rate    = "10/min",     -- messages at most; what has to wait goes with the next one
--     resolve = true,         -- also says when it is over
--     timeout = "10s", retries = 3,                     -- waiting 1 s, 2 s, 4 s … between attempts
--     silence = "10m",                                  -- after the start; or a matcher, or a list of them:
--               { rule = "victim*", key = "10.0.0.0/8", from = "22:00", to = "06:00" },
--     queue   = 10000,        -- instances that fire or wait to be told, at most; what is beyond is counted and said
--   }
--
-- A secret (a header, or the webhook itself) is { file = path } or { env = name }, with a prefix if need be: it is read
-- when it is needed and printed nowhere. from and to are times of the day ("HH:MM", local) or dates ("2026-01-31",
-- "2026-01-31T06:00:00Z", UTC).

local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local times = require "perilune.calendar.times"
local units = require "perilune.base.units"

local receivers = {}

local MOST_QUEUED, LONGEST_TIMEOUT, LONGEST_GROUP = 100000, 300, 86400

-- A text that may go into a header or a URL.
local function is_plain(text) return type(text) == "string" and text ~= "" and not text:find "%c" end

local SECRET = schema.new {
  what = "a secret",
  keys = { file = { type = "text" }, env = { type = "text" }, prefix = { type = "text", default = "" } },
}

-- A text, or { file =, env =, prefix = }.
local function secret_of(value)
  if type(value) ~= "table" then
    if is_plain(value) then return { text = value } end
    return nil, ("expected a text, got %s"):format(units.quote(value)), 'or where it is: { file = "/etc/…/token" }'
  end
  local values, message, remedy = SECRET:parse(value)
  if not values then return nil, message, remedy end
  if (values.file ~= nil) == (values.env ~= nil) then
    return nil, "a secret is in a file or in a variable of the environment", 'like { file = "/etc/perilune/token" }'
  end
  return values
end

local function url_of(value)
  local url, message, remedy = secret_of(value)
  if not url then return nil, message, remedy end
  if url.text and not url.text:find "^https?://[^%s/?#]+[^%s]*$" then
    return nil, ("%s is no URL"):format(units.quote(url.text)), 'like "https://soc.example.org/hook"'
  end
  return url
end

local function headers_of(value)
  if type(value) ~= "table" then return nil, "expected names with values", 'like { ["X-Team"] = "net" }' end
  local list = {}
  for name, given in pairs(value) do
    if type(name) ~= "string" or not name:find "^[%w!#$%%&'*+.^_`|~-]+$" then
      return nil, ("%s is no name of a header"):format(units.quote(name)), 'like { ["X-Team"] = "net" }'
    end
    local secret, message, remedy = secret_of(given)
    if not secret then return nil, name .. ": " .. message, remedy end
    list[#list + 1] = { name = name, value = secret }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function command_of(value)
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" or #value == 0 then
    return nil, "expected a program and its arguments", 'like { "/usr/local/bin/page", "night" }'
  end
  local argv = {}
  for key, word in pairs(value) do
    if type(key) ~= "number" or type(word) ~= "string" or word:find "%z" then
      return nil, ("%s is no argument"):format(units.quote(type(key) == "number" and word or key)),
        'texts only, like { "/usr/local/bin/page", "night" }'
    end
    argv[key] = word
  end
  if #argv ~= #value or argv[1] == "" then return nil, "expected a program and its arguments", "without gaps" end
  return argv
end

local MATCHER = schema.new {
  what = "a silence",
  keys = {
    rule = { type = "text" }, key = { type = "text" }, from = { type = times.point }, to = { type = times.point },
  },
}

local function matcher_of(value)
  local values, message, remedy = MATCHER:parse(value)
  if not values then return nil, message, remedy end
  if next(values) == nil then return nil, "a silence without anything", 'like { rule = "victim" }, or "10m"' end
  if values.from and values.to and (values.from.day == nil) ~= (values.to.day == nil) then
    return nil, "from and to are two times of the day or two dates", 'like from = "22:00", to = "06:00"'
  end
  return values
end

-- "10m", a matcher, or a list of both.
local function silence_of(value)
  if type(value) ~= "table" or next(value) ~= nil and #value == 0 then value = { value } end
  local list = {}
  for i, one in ipairs(value) do
    local message, remedy
    if type(one) == "table" then
      list[i], message, remedy = matcher_of(one)
    else
      local seconds
      seconds, message, remedy = schema.value(one, { type = "duration" })
      list[i] = seconds and { first = seconds }
    end
    if not list[i] then return nil, message, remedy end
  end
  if #list == 0 then return nil, "a silence without anything", 'like "10m" or { rule = "victim" }' end
  return list
end

receivers.SPEC = schema.new {
  what = "receiver",
  keys = {
    webhook = { type = url_of }, command = { type = command_of }, headers = { type = headers_of },
    group = { type = "duration", max = LONGEST_GROUP, default = 0 }, rate = { type = "rate" },
    resolve = { type = "bool", default = true },
    timeout = { type = "duration", min = 0.1, max = LONGEST_TIMEOUT, default = 10 },
    retries = { type = "count", min = 0, max = 20, default = 3 },
    silence = { type = silence_of },
    queue = { type = "count", min = 1, max = MOST_QUEUED, default = 10000 },
  },
}

--- Forms → plain declarations, in the same order.
function receivers.declare(forms)
  local list = {}
  for i, one in ipairs(forms) do
    local values = one.values
    local title = ('receiver "%s"'):format(one.name)
    if (values.webhook ~= nil) == (values.command ~= nil) then
      sandbox.fail(one.at, title .. (values.webhook and " has both a webhook and a command"
        or " has neither a webhook nor a command"), 'write webhook = "https://…" or command = { "program" }')
    end
    if values.headers and not values.webhook then
      sandbox.fail(one.at, title .. ": headers are for a webhook", "leave them out")
    end
    if values.rate and values.rate <= 0 then
      sandbox.fail(one.at, title .. ": rate: nothing would ever be told", 'like rate = "10/min"')
    end
    list[i] = {
      name = one.name, webhook = values.webhook, command = values.command, headers = values.headers or {},
      group = values.group, rate = values.rate, resolve = values.resolve, timeout = values.timeout,
      retries = values.retries, silence = values.silence or {}, queue = values.queue,
      line = one.at.line, file = one.at.file,
    }
  end
  return list
end

local function readable(secret)
  if secret.env then
    if os.getenv(secret.env) then return true end
    return nil, ("there is no %s in the environment"):format(secret.env)
  elseif secret.file then
    local file, message = io.open(secret.file, "r")
    if not file then return nil, message end
    file:close()
  end
  return true
end

--- What a receiver lacks on this machine, which it may have when it is needed: a list of { file, line, message, hint }.
--- `program`: perilune.core.files' (name → path | nil, message).
function receivers.warnings(list, program)
  local found = {}
  for _, one in ipairs(list) do
    local function warn(message, hint)
      found[#found + 1] = { file = one.file, line = one.line, hint = hint,
        message = ('receiver "%s": %s'):format(one.name, message) }
    end
    local name = one.command and one.command[1] or "curl"
    local path, why = program(name)
    if not path then
      warn(one.command and ("the command %s cannot be run: %s"):format(name, (why:gsub("^.*: ", "")))
        or "webhooks are sent by curl, which is not installed", one.command and "is the path right?" or "install curl")
    end
    local secrets = { one.webhook }
    for _, header in ipairs(one.headers) do secrets[#secrets + 1] = header.value end
    for _, secret in ipairs(secrets) do
      local ok, message = readable(secret)
      if not ok then warn(message, "it is read anew for every message") end
    end
  end
  return found
end

return receivers
