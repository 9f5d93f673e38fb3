-- SPDX-License-Identifier: Apache-2.0
--
-- The daemon: listeners, policies, and the clock that both go by.
--
--   clients ─▶ http ─▶ router ─▶ route ─▶ policies ─▶ worker ─▶ channel ─▶ perilune run
--                                  ▲                     │
--                                  └──── hub ◀── events ─┘
--
-- Nothing in here touches a packet or a window: a client that is slow, hostile or many costs this process time, and the
-- policies' processes none.
local auth = require "perilune.serve.auth"
local exporters = require "perilune.serve.exporters"
local http = require "perilune.core.http"
local loop = require "perilune.core.loop"
local monitors = require "perilune.dynmon.monitors"
local manager = require "perilune.serve.manager"
local policies = require "perilune.serve.policies"
local router = require "perilune.serve.router"
local scrape = require "perilune.serve.scrape"
local sameness = require "perilune.policy.sameness"
local secret = require "perilune.core.secret"
local stream = require "perilune.serve.stream"
local vm = require "perilune.core.vm"

local daemon = {}
local Daemon = {}
Daemon.__index = Daemon

local TICK_SECONDS = 0.1

local function all_routes()
  local list = {}
  for _, part in ipairs { "service", "policies", "metrics", "dynmon" } do
    for _, route in ipairs(require("perilune.serve.routes_" .. part)) do list[#list + 1] = route end
  end
  return list
end

--- settings: listen (list of listeners, as settings.lua has them), credentials, labels, limits, members (policies to
--- start: { name, file, set, trusted, origin }), wording (what is said of the log); log, store, version, share,
--- templates, reread() → settings | nil, message: for reload.
function daemon.new(settings)
  local self = setmetatable({ settings = settings, log = settings.log, servers = {}, status = 0, reloads = {} },
    Daemon)
  self.auth = auth.new { credentials = settings.credentials, secret = secret, uid = secret.uid() }
  self.hub = stream.new(function() self:consider_records() end)
  self.policies = policies.new {
    store = settings.store, log = settings.log, labels = settings.labels, pin = settings.pin,
    on_event = function(one, name, text)
      self.hub:publish(one.name, name, text)
      self.exporters:publish(one.name, name, text)
    end,
  }
  self.monitors = monitors.new { log = settings.log, share = settings.share }
  self.exporters = exporters.new(settings.exports, settings.log)
  self.context = {
    monitors = self.monitors, policies = self.policies, hub = self.hub, exporters = self.exporters, log = self.log,
    labels = settings.labels, version = settings.version, share = settings.share, templates = settings.templates,
    began = loop.now(), now = loop.now, dumps = 0,
    routes = all_routes(), reload = function(done) self:reload(done) end,
  }
  self.context.scrape = scrape.new(self.context)
  function self.context.connections()
    local count = 0
    for _, server in ipairs(self.servers) do count = count + server:connections() end
    return count
  end
  self.router = router.new {
    routes = self.context.routes, auth = self.auth, context = self.context,
    over = function(call) self:over(call) end,
  }
  self.timer = loop.timer(function() self:tick() end)
  return self
end

-- A request is answered.
function Daemon:over(call)
  self.context.scrape:answered(call.status)
  local level = call.status >= 500 and "warn" or "debug"
  self.log[level](self.log, "request", {
    method = call.request:method(), path = call.route and call.route.path or "?", status = call.status,
    by = call.who and call.who.name, seconds = ("%.6f"):format(loop.now() - call.began),
  })
end

-- Records are made only while somebody wants them.
function Daemon:consider_records()
  self.policies:each(function(one)
    one:want_records(self.hub:wants_records(one.name) or self.exporters:wants_records(one.name))
  end)
end

local function where(listener, server)
  if listener.path then return "unix:" .. listener.path end
  return ("%s:%d"):format(listener.host, listener.port == 0 and server:port() or listener.port)
end

--- nil, message, code when one cannot be listened at.
function Daemon:listen()
  for _, listener in ipairs(self.settings.listen) do
    local server, message, code = http.serve {
      path = listener.path, mode = listener.mode, group = listener.group, host = listener.host, port = listener.port,
      tls = listener.tls, limits = self.settings.limits,
      head = function(request) self.router:head(request, listener) end,
      request = function(request) self.router:run(request) end,
      log = function(text) self.log:debug("a client", { says = text }) end,
    }
    if not server then return nil, message, code end
    self.servers[#self.servers + 1] = server
    self.log:info("listening", { at = where(listener, server), tls = listener.tls and true or nil })
    if listener.no_auth then
      self.log:warn("NO CREDENTIAL IS ASKED FOR: every program of this machine may inject code here",
        { at = where(listener, server) })
    end
  end
  return true
end

function Daemon:tick()
  local now = loop.now()
  self.policies:tick(now)
  self.hub:tick(now)
  self.manager:tick(now)
  self.monitors:tick(now)
  self.exporters:tick()
  self:consider_records() -- also of policies that are new
  self.timer:start(now + TICK_SECONDS)
end

-- What a running daemon does not change: { name in the settings, what it is called }.
local FIXED = { { "listen", "listen" }, { "limits", "limits" }, { "labels", "host and site" }, { "wording", "log" },
  { "pin", "pin" } }

-- What of the settings would take a new start to be in force: list of texts.
local function unchangeable(before, now)
  local list = {}
  for _, one in ipairs(FIXED) do
    if not sameness.equal(before[one[1]], now[one[1]]) then
      list[#list + 1] = ("%s: changed, which takes a new start of the daemon"):format(one[2])
    end
  end
  return list
end

-- What a reload came to, in the log.
local function tell(self, problems, report)
  for _, problem in ipairs(problems) do self.log:warn(problem, {}) end
  for _, one in ipairs(report) do
    local level = one.result == "failed" and "error" or "info"
    self.log[level](self.log, "policy " .. one.result, { policy = one.name, why = one.message })
  end
  self.log:info("reloaded", { problems = #problems })
end

local function reload(self, done)
  local fresh, message = self.settings.reread()
  if not fresh then
    self.log:error("nothing is reloaded", { error = message })
    return done(nil, message)
  end
  self.auth:replace(fresh.credentials)
  self.exporters:become(fresh.exports)
  self:consider_records()
  local problems = unchangeable(self.settings, fresh)
  self.policies:reload(fresh.members, function(report)
    for _, one in ipairs(report) do
      if one.result == "failed" then problems[#problems + 1] = ("%s: %s"):format(one.name, one.message) end
    end
    tell(self, problems, report)
    done(problems, report)
  end)
end

--- Reads configuration, credentials and policies again, one reload after the other. done(problems, report): what has
--- not changed though it should, and what became of each policy (Policies:reload); or done(nil, message): the
--- configuration is wrong, and nothing has changed.
function Daemon:reload(done)
  if self.stopping then return done(nil, "the daemon is stopping") end
  table.insert(self.reloads, done)
  if #self.reloads > 1 then return end
  local function next()
    self.manager:reloading()
    reload(self, function(...)
      self.manager:reloaded()
      table.remove(self.reloads, 1)(...)
      if self.reloads[1] then next() end
    end)
  end
  next()
end

--- leave: policies that are pinned go on without a process, for another daemon.
function Daemon:stop(leave)
  if self.stopping then return end
  self.stopping = true
  self.log:info(leave and "leaving" or "stopping", {})
  self.manager:stopping()
  self.hub:close()
  self.policies:stop(function()
    self.exporters:close()
    self.monitors:stop(function()
      self.timer:close()
      loop.stop()
    end)
  end, leave)
end

local SIGNALS = { SIGINT = "stop", SIGTERM = "stop", SIGHUP = "reload", SIGUSR2 = "leave" }

--- Runs until it is told to stop. → exit status
function Daemon:run(context)
  local handles = {}
  vm.on_error(function(traceback)
    self.log:error("an error in perilune itself", { error = traceback })
    self.status = context.exit.failed
  end)
  for name, what in pairs(SIGNALS) do
    handles[#handles + 1] = loop.signal(name, function()
      if what == "reload" then return self:reload(function() end) end
      self:stop(what == "leave")
    end)
  end
  local ok, message, code
  self.manager, message, code = manager.new { policies = self.policies, log = self.log, now = loop.now }
  if self.manager then ok, message, code = self:listen() end
  if not ok then
    self.log:error(message, { code = code })
    self:close(handles)
    return context.fail(message, code)
  end
  self.manager:lay_down()
  for _, member in ipairs(self.settings.members) do self.policies:add(member) end
  self.policies:restore()
  self:tick()
  loop.run()
  self:close(handles)
  return self.status
end

function Daemon:close(handles)
  for _, handle in ipairs(handles) do handle:close() end
  for _, server in ipairs(self.servers) do server:close() end
  self.servers = {}
  self.timer:close()
end

return daemon
