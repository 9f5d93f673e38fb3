-- SPDX-License-Identifier: Apache-2.0
-- perilune inject: code that was made for Dynmon, at the daemon.
local client = require "perilune.client"
local configuration = require "perilune.dynmon.configuration"
local drive = require "perilune.client.drive"
local format = require "perilune.base.format"
local json = require "perilune.base.json"
local json_read = require "perilune.base.json_read"
local place = require "perilune.client.place"
local store = require "perilune.core.store"
local words = require "perilune.base.words"

local inject = {
  usage = "perilune inject NAME IFACE CONFIG.json [--direction ingress | egress | both] [--mode MODE] "
    .. "[--loglevel LEVEL] [--socket PATH | --server URL] [--token-file FILE]",
  summary = "inject code made for Dynmon into an interface, through the daemon",
  options = place.with { direction = "text", mode = "text", loglevel = "text" },
  help = [[
Creates the monitor NAME with the code of CONFIG.json and attaches it to IFACE; one that is there gets the new code in
the place of the old, and goes to IFACE where it is elsewhere. Code that is wrong is refused, and what runs goes on.

  --direction WAY     only the ingress or the egress path of the configuration (both)
  --mode MODE         TC, XDP_SKB or XDP_DRV, of a new monitor (TC)
  --loglevel LEVEL    of pcn_log, of a new monitor: off, critical, err, warn, info, debug or trace (off)
]] .. place.help,
}

local CONFIG_MOST = 1024 * 1024 -- bytes; the daemon takes no more
local SECONDS = 120 -- for a compiler on a busy machine
local DIRECTIONS = { "ingress", "egress", "both" }

-- The configuration as the daemon is to have it | nil, message, code
local function read_config(path, direction)
  local text, message, code = store.read(path, CONFIG_MOST)
  if not text then return nil, message, code end
  local value, wrong, at = json_read.decode(text, { list = json.array, null = json.null })
  if type(value) ~= "table" then
    return nil, ("%s: %s"):format(path, wrong and ("no JSON: %s (byte %d)"):format(wrong, at)
      or "not a configuration: it has to be a JSON object")
  end
  if direction ~= "both" then value[(direction == "ingress" and "egress" or "ingress") .. "-path"] = {} end
  local paths
  paths, message = configuration.paths(value)
  if not paths then return nil, ("%s: %s"):format(path, message) end
  return configuration.show(paths)
end

-- What is wrong with an option's value, or nil: also where the monitor is there and keeps its mode.
local function not_a_choice(option, value, known)
  if not value then return nil end
  for _, one in ipairs(known) do
    if one == value then return nil end
  end
  return ("--%s %s: there is none such (%s)"):format(option, value, words.suggest(value, known))
end

local Injection = {}
Injection.__index = Injection

function Injection:ask(method, path, body, done)
  self.daemon:ask(method, "/polycube/v1" .. path, body, done, SECONDS)
end

function Injection:must(method, path, body, fine)
  self:ask(method, path, body, function(value, failure)
    if failure then return self.finish(drive.failed(self.context, failure)) end
    fine(value)
  end)
end

function Injection:done(what)
  self.context.out(("%s: %s %s"):format(format.clean(self.name), what, format.clean(self.iface)))
  self.finish(self.context.exit.done)
end

function Injection:attach(fine, undo)
  self:ask("POST", "/attach", { cube = self.name, port = self.iface }, function(_, failure)
    if not failure then return fine() end
    undo(function() self.finish(drive.failed(self.context, failure)) end)
  end)
end

function Injection:create(options)
  local body = { ["dataplane-config"] = self.config, type = options.mode, loglevel = options.loglevel }
  self:must("POST", self.path, body, function()
    self:attach(function() self:done "injected into" end, function(over) self:ask("DELETE", self.path, nil, over) end)
  end)
end

-- First the code, which may be wrong; then the interface.
function Injection:replace(parent)
  self:must("PUT", self.path .. "/dataplane-config", self.config, function()
    if parent == self.iface then return self:done "injected anew into" end
    local function attach(back)
      self:attach(function() self:done "injected anew, and attached to" end, back)
    end
    if type(parent) ~= "string" then return attach(function(over) over() end) end
    self:must("POST", "/detach", { cube = self.name, port = parent }, function()
      attach(function(over) self:ask("POST", "/attach", { cube = self.name, port = parent }, over) end)
    end)
  end)
end

function inject.run(parsed, context)
  local name, iface, path = parsed[1], parsed[2], parsed[3]
  if not path or parsed[4] then return context.fail "inject takes a name, an interface and a configuration" end
  local direction = parsed.direction or "both"
  local wrong = not_a_choice("direction", direction, DIRECTIONS)
    or not_a_choice("mode", parsed.mode, configuration.TYPES)
  if wrong then return context.fail(wrong) end
  local config, message, code = read_config(path, direction)
  if not config then return context.fail(message, code) end
  return drive.run(parsed, context, function(daemon, finish)
    local one = setmetatable({ daemon = daemon, context = context, finish = finish, name = name, iface = iface,
      config = config, path = "/dynmon/" .. client.escape(name) }, Injection)
    one:ask("GET", one.path, nil, function(monitor, failure)
      if not failure then return one:replace(monitor.parent) end
      if failure.status ~= 404 then return finish(drive.failed(context, failure)) end
      one:create { mode = parsed.mode, loglevel = parsed.loglevel }
    end)
  end)
end

return inject
