-- SPDX-License-Identifier: Apache-2.0
--
-- What the daemon goes by: the configuration, where the environment and then the command line say otherwise, with
-- defaults for the rest. What would leave the door open is refused here.
local auth = require "perilune.serve.auth"
local words = require "perilune.base.words"

local settings = {}

--- "unix:PATH", "192.0.2.1:9443", "[::1]:9000" → { unix = } or { host =, port = } | nil, message
function settings.address(text)
  local path = text:match "^unix:(.+)$"
  if path then return { unix = path } end
  local host, port = text:match "^%[(.-)%]:(%d+)$"
  if not host then host, port = text:match "^([^:]+):(%d+)$" end
  port = tonumber(port)
  if not host or port > 65535 then
    return nil, ("%s is nothing to listen at (unix:PATH, 127.0.0.1:9000 or [::1]:9000)"):format(text)
  end
  return { host = host, port = port }
end

-- The listeners of the command line or the environment: addresses with commas between them.
local function listeners_of(text)
  local list = {}
  for word in text:gmatch "[^,]+" do
    local address, message = settings.address(word)
    if not address then return nil, message end
    list[#list + 1] = address
  end
  return list
end

-- A configured listener, in the same form.
local function configured(values)
  local one = {}
  for name, value in pairs(values) do one[name] = value end
  if values.tcp then
    local address, message = settings.address(values.tcp)
    if not address or address.unix then return nil, message or ("%s is no TCP address"):format(values.tcp) end
    one.host, one.port, one.tcp = address.host, address.port, nil
  end
  return one
end

-- nil, or why nobody is to be listened to like this.
local function unsafe(one, credentials, is_loopback)
  if not one.host then
    return one.no_auth and "no_auth is for TCP on loopback: a Unix socket's mode says who may connect" or nil
  end
  local at, loopback = ("%s:%d"):format(one.host, one.port), is_loopback(one.host)
  local known = #credentials.tokens > 0 or (one.clients and next(credentials.certificates) ~= nil)
  if one.no_auth then
    return not loopback and at .. ": without credentials on loopback only (127.0.0.1 or ::1)" or nil
  end
  if not loopback and not one.certificate then
    return at .. ": not without TLS, as it is not loopback (certificate and key in the configuration's listen)"
  end
  if not known then
    return at .. ": nobody has a credential for it (perilune token makes one; --credentials FILE)"
  end
end

-- The texts of a listener's PEM files.
local function read_tls(one, read)
  if not one.certificate then return true end
  local tls = {}
  for _, name in ipairs { "certificate", "key", "clients" } do
    if one[name] then
      local text, message = read(one[name])
      if not text then return nil, message end
      tls[name] = text
    end
  end
  one.tls = tls
  return true
end

local LIMITS = { head = "head_bytes", body = "body_bytes", connections = "connections", per_address = "per_address",
  request = "request_seconds", idle = "idle_seconds", answer = "answer_seconds" }

local function limits_of(values)
  local limits = {}
  for name, key in pairs(LIMITS) do limits[key] = values[name] and math.ceil(values[name]) end
  return limits
end

local function credentials_of(path, read)
  if not path then return auth.parse("", "") end
  local text, message, code = read(path)
  if not text then
    local remedy = code == "ENOENT" and (" (perilune token NAME --credentials %s makes it)"):format(path)
    return nil, message .. (remedy or "")
  end
  return auth.parse(text, path)
end

local function choose_listeners(given, config, default)
  if given then return listeners_of(given) end
  local list = {}
  for i, values in ipairs(config.listen or {}) do
    local one, message = configured(values)
    if not one then return nil, message end
    list[i] = one
  end
  if #list == 0 then list[1] = { unix = default } end
  return list
end

--- flags: the command line (listen, credentials, host, site, log, ["no-auth"], pin); env(name) → text or nil; config:
--- of configuration.load, or {}; options: default_socket, read(path) → text | nil, message, is_loopback(host).
--- → { listen, credentials, labels, limits, log = { level, format }, members, pin }
--- | nil, message
function settings.resolve(flags, env, config, options)
  local function given(name) return flags[name] or env("PERILUNE_" .. name:upper()) end
  local credentials, message = credentials_of(given "credentials" or config.credentials, options.read)
  if not credentials then return nil, message end
  local listen
  listen, message = choose_listeners(given "listen", config, options.default_socket)
  if not listen then return nil, message end
  for _, one in ipairs(listen) do
    if flags["no-auth"] and one.host then one.no_auth = true end
    one.path, one.role = one.unix, one.role or "read"
    message = unsafe(one, credentials, options.is_loopback)
    if message then return nil, message end
    local ok
    ok, message = read_tls(one, options.read)
    if not ok then return nil, message end
  end
  local level, format = (given "log" or ""):match "^(%l*):?(%l*)$"
  local out = {
    listen = listen, credentials = credentials, limits = limits_of(config.limits or {}), members = config.members or {},
    labels = { host = given "host" or config.host, site = given "site" or config.site },
    pin = flags.pin or config.pin or false,
    log = config.log or {}, exports = config.exports or {},
  }
  local log = require "perilune.serve.log"
  for _, part in ipairs { { "level", level, log.LEVELS }, { "format", format, log.FORMATS } } do
    local name, word, known = part[1], part[2], part[3]
    if word == nil then return nil, "log: LEVEL, or LEVEL:FORMAT, like debug:json" end
    if word ~= "" then
      local found = false
      for _, one in ipairs(known) do found = found or one == word end
      if not found then return nil, ("log: %s is no %s (%s)"):format(word, name, words.list(known)) end
      out.log = { level = out.log.level, format = out.log.format }
      out.log[name] = word
    end
  end
  return out
end

return settings
