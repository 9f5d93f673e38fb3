-- SPDX-License-Identifier: Apache-2.0
--
-- The daemon's configuration: one Lua file, as strict as a policy.
--
--   return daemon {
--     host = "web-3", site = "fra1",                       -- labels of every event and log line
--     listen = {
--       { unix = "/run/perilune/perilune.sock", mode = "0660", group = "perilune", role = "read" },
--       { tcp = "0.0.0.0:9443", certificate = "tls.crt", key = "tls.key", clients = "ca.pem" },
--     },
--     credentials = "credentials",                         -- perilune token makes its lines
--     log = { level = "info", format = "auto" },
--     limits = { connections = 256, body = "1MiB", request = "30s" },
--     pin = true,                                          -- as run --pin has it, for every policy
--     exports = { export "archive" { file = "windows.jsonl" } },   -- export_form.lua
--     policies = { policy "edge" { file = "edge.lua", set = { iface = "eth0", surge = "2k/s" } } },
--   }
--
-- Files are beside the configuration, unless their paths begin with a slash. What it does not say comes from the
-- environment, the command line or a default (settings.lua).
local auth = require "perilune.serve.auth"
local export_form = require "perilune.serve.export_form"
local form = require "perilune.base.form"
local log = require "perilune.serve.log"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"

local configuration = {}

local LABEL = "^[%w_][%w_.:-]*$"

local function label(value)
  if type(value) ~= "string" or not value:find(LABEL) or #value > 63 then
    return nil, "it is no label", "letters, digits and _ . : -, at most 63"
  end
  return value
end

-- "0660" → 0x1b0
local function mode(value)
  if type(value) ~= "string" or not value:find "^0?[0-7][0-7][0-7]$" then
    return nil, "it is no mode of a file", 'like mode = "0660"'
  end
  return tonumber(value, 8)
end

local DAEMON = schema.new {
  what = "daemon",
  keys = {
    host = { type = label }, site = { type = label }, listen = { type = "table", default = {} },
    credentials = { type = "text" }, log = { type = "table", default = {} }, limits = { type = "table", default = {} },
    policies = { type = form.list "member", default = {} }, exports = { type = form.list "export", default = {} },
    pin = { type = "bool", default = false },
  },
}

local LISTENER = schema.new {
  what = "listen",
  keys = {
    unix = { type = "text" }, mode = { type = mode }, group = { type = "text" },
    role = { type = "text", one_of = auth.ROLES }, tcp = { type = "text" }, certificate = { type = "text" },
    key = { type = "text" }, clients = { type = "text" }, no_auth = { type = "bool", default = false },
  },
}

local LOG = schema.new {
  what = "log",
  keys = {
    level = { type = "text", one_of = log.LEVELS }, format = { type = "text", one_of = log.FORMATS },
  },
}

local LIMITS = schema.new {
  what = "limits",
  keys = {
    head = { type = "size", min = 1024, max = 1024 * 1024 },
    body = { type = "size", min = 1024, max = 64 * 1024 * 1024 },
    connections = { type = "count", min = 1, max = 65536 }, per_address = { type = "count", min = 1, max = 65536 },
    request = { type = "duration", min = 1, max = 3600 }, idle = { type = "duration", min = 1, max = 3600 },
    answer = { type = "duration", min = 1, max = 86400 },
  },
}

local MEMBER = schema.new {
  what = "policy",
  keys = {
    file = { type = "text", required = true, help = 'like file = "edge.lua"' },
    set = { type = "table", default = {} }, trusted = { type = "bool", default = false },
  },
}

local function beside(file, path)
  if not path or path:sub(1, 1) == "/" then return path end
  return (file:match "^(.*/)" or "") .. path
end

-- What belongs to which kind of listener.
local function check_listener(values, at)
  if (values.unix == nil) == (values.tcp == nil) then
    sandbox.fail(at, "listen: either unix or tcp is needed", 'like { unix = "/run/perilune/perilune.sock" }')
  end
  local foreign = values.unix and { "certificate", "key", "clients" } or { "mode", "group", "role" }
  for _, key in ipairs(foreign) do
    if values[key] then
      sandbox.fail(at, ("listen: %s is not for %s"):format(key, values.unix and "unix" or "tcp"), "leave it out")
    end
  end
  if (values.certificate == nil) ~= (values.key == nil) then
    sandbox.fail(at, "listen: certificate and key belong together", "give both")
  end
  if values.clients and not values.key then
    sandbox.fail(at, "listen: clients show certificates to a listener that has one", "give certificate and key")
  end
end

local function listeners_of(list, file, at)
  local out = {}
  for i, body in ipairs(list) do
    local values = form.parse(LISTENER, body, at)
    check_listener(values, at)
    for _, key in ipairs { "unix", "certificate", "key", "clients" } do values[key] = beside(file, values[key]) end
    out[i] = values
  end
  return out
end

local function set_of(values, at)
  local set = {}
  for name, value in pairs(values) do
    if type(name) ~= "string" or type(value) == "table" then
      sandbox.fail(at, "set: names of options and their values expected", 'like set = { iface = "eth0" }')
    end
    set[name] = tostring(value)
  end
  return set
end

local function member(file)
  return function(name, body, at)
    local values = form.parse(MEMBER, body, at, ('"%s"'):format(name))
    return form.new { form = "member", name = name, at = at, file = beside(file, values.file),
      set = set_of(values.set, at), trusted = values.trusted }
  end
end

local function daemon(file, at)
  return function(_, body)
    local values = form.parse(DAEMON, body, at)
    local out = {
      form = "daemon", file = file, host = values.host, site = values.site, pin = values.pin,
      listen = listeners_of(values.listen, file, at), credentials = beside(file, values.credentials),
      exports = export_form.list(values.exports),
      log = form.parse(LOG, values.log, at), limits = form.parse(LIMITS, values.limits, at), members = {},
    }
    local seen = {}
    for i, one in ipairs(values.policies) do
      if seen[one.name] then
        sandbox.fail(one.at, ('two policies are called "%s"'):format(one.name), "give one another name")
      end
      seen[one.name] = true
      out.members[i] = {
        name = one.name, file = one.file, set = one.set, trusted = one.trusted, origin = "configuration",
      }
    end
    return form.new(out)
  end
end

-- The line that says `return daemon`: what is called as the last thing of a file has left none itself.
local function line_of(text)
  local before = ("\n" .. text):match "^(.-\n)return%s+daemon%f[%W]"
  return before and select(2, before:gsub("\n", "")) or nil
end

--- Whether a file is a configuration, by what it returns: for commands that take both.
function configuration.is(file)
  local text = sandbox.read(file)
  return text ~= nil and line_of(text) ~= nil
end

--- spec: file, say (what print writes by) → the configuration as plain data | nil, message, "EINVAL"
function configuration.load(spec)
  local file = spec.file
  local text, message, remedy = sandbox.read(file)
  if not text then return nil, ("%s: %s (%s)"):format(file, message, remedy), "EINVAL" end
  local box = sandbox.new {
    file = file, say = spec.say, words = {
      daemon = form.word("daemon", daemon(file, { file = file, line = line_of(text) }), { default_name = "perilune" }),
      export = export_form.word(function(path) return beside(file, path) end),
      policy = form.word("policy", member(file), { form = "member" }),
    },
  }
  local value
  value, message = box:run(function()
    local returned = box:compile(text, file)()
    if form.kind_of(returned) ~= "daemon" or select(2, form.kind_of(returned)) then
      sandbox.fail({ file = file }, "it returns no configuration", "end it with return daemon { … }")
    end
    return returned
  end)
  if not value then return nil, message, "EINVAL" end
  return value
end

return configuration
