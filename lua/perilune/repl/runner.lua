-- SPDX-License-Identifier: Apache-2.0
--
-- A policy that runs in a session: the live driver, and what a person may want to look at between two lines.
--
--   runner.start(decl, options) → runner            decl: what policy.load or check.declare returns
--   runner.last                                     the last closed window: { seq, seconds, level, event, rows }
--   runner:next_window(done)                        done(runner) when the next one is closed
--   runner:follow(probe) → feed                     every window from now on: feed:next(done), feed:close()
--
-- The records of the last window are kept open until the next one closes, so that looking costs nothing before somebody
-- looks. `series` has the totals of the last windows, oldest first.

local blame = require "perilune.base.blame"
local live = require "perilune.run.live"
local loop = require "perilune.core.loop"
local session = require "perilune.run.session"

local runner = {}

local Runner = {}
Runner.__index = Runner

local MOST_WINDOWS, MOST_EVENTS = 240, 1000
-- What a person is told as it happens, and what is remembered to be asked for.
local REMEMBERED = { transition = true, rule = true, action = true, error = true }

-- The sink of the driver's events.
local Sink = {}
Sink.__index = Sink

local function remember(list, item, most)
  list[#list + 1] = item
  if #list > most then table.remove(list, 1) end
end

function Sink:event(e)
  local self_runner = self.runner
  if e.event == "start" then self_runner.levels, self_runner.level = e.levels, e.levels[1] end
  if e.event == "transition" then self_runner.level = e.to end
  if e.event == "attach" then remember(self_runner.attached, e, MOST_EVENTS) end
  if REMEMBERED[e.event] then remember(self_runner.events, e, MOST_EVENTS) end
  if e.event == "window" then self.window = e end
  if e.event == "summary" then self_runner.summary = e end
  self_runner.on_event(e, self_runner)
  if e.event == "attach" then self_runner:begun(true) end
  return true
end

function Sink.status() return true end
function Sink.close() return true end

-- The engine leaves the views of a window to us; `rows`: by probe.
function Sink:keep(closed, views, close)
  local own = self.runner
  if own.release then own.release() end
  own.release = function() close(views) end
  own.last = { seq = closed.seq, seconds = closed.seconds, level = closed.level.name, cut = closed.cut,
    event = self.window, rows = views.rows }
  remember(own.series, self.window, MOST_WINDOWS)
  own:tell_waiting()
end

function Runner:tell_waiting()
  local waiting = self.waiting
  self.waiting = {}
  for _, done in ipairs(waiting) do done(self) end
end

function Runner:next_window(done) self.waiting[#self.waiting + 1] = done end

-- A window at a time misses none here: whoever waits goes on within the window's end.
local Feed = {}
Feed.__index = Feed

function Feed:next(done)
  local own = self.runner
  own:next_window(function()
    if self.closed then return end
    local rows = own:rows(self.probe)
    if own.ended or rows then return done { window = own.last, rows = rows } end
    self:next(done)
  end)
  return self
end

function Feed:close() self.closed = true end

--- What windows have of a probe, from now on: feed:next(done) gives { window, rows }, without either when it has ended.
function Runner:follow(probe) return setmetatable({ runner = self, probe = probe }, Feed) end

-- The start is over: attached (true), or failed (nil, message, code).
function Runner:begun(...)
  local done = self.started
  self.started = nil
  if done then done(...) end
end

--- What the hook counted in each of these windows, a second: "packets", "skbs" or "bytes".
function runner.rates(windows, field)
  local values = {}
  for i, window in ipairs(windows) do
    local value = window[field]
    if type(value) ~= "number" then blame.fail('series: "packets", "skbs" or "bytes", not "%s"', tostring(field)) end
    values[i] = window.seconds > 0 and value / window.seconds or 0
  end
  return values
end

--- The same of the last windows, oldest first.
function Runner:rates(field) return runner.rates(self.series, field) end

--- Records of a probe in the last closed window; nil when it did not run in it.
function Runner:rows(probe) return self.last and self.last.rows[probe] end

--- Another declaration takes its place while it runs, and no count is lost; done(true), or done(nil, message, code) and
--- it runs on as it was.
function Runner:replace(decl, done)
  decl.attach.iface = decl.attach.iface or self.decl.attach.iface -- the default route's, as it was when it began
  self.driver:replace(decl, self.driver.interfaces, function(ok, message, code)
    if ok then self.decl = decl end
    done(ok, message, code)
  end)
end

--- A person wants this level, for some seconds or until told otherwise; nil: no level any more.
function Runner:pin(level, seconds)
  local engine = self.driver.engine
  if not level then return engine:unpin() end
  return engine:pin(level, loop.now(), seconds)
end

--- Stops it and lets go of everything; done(summary event or nil, message).
function Runner:stop(done)
  self.stopped = done or function() end
  if self.ended then return self.stopped(self.summary) end
  self.driver:stop()
end

local function finished(self, message, code)
  self.ended = true
  if self.release then self.release() end
  self.release, self.last = nil, nil
  self:begun(nil, message or "it ended before it had begun", code)
  local stopped = self.stopped or self.on_end
  self:tell_waiting()
  stopped(self.summary, message, code)
end

--- Compiles, verifies and attaches. `options`: share, on_event(event, runner), on_end(summary, message): it ended by
--- itself. done(true) when it is attached, done(nil, message, code).
function runner.start(decl, options, done)
  local self = setmetatable({ decl = decl, events = {}, series = {}, attached = {}, waiting = {}, started = done,
    on_event = options.on_event, on_end = options.on_end }, Runner)
  local interfaces, message, code = session.interfaces(decl)
  if not interfaces then return nil, message, code end
  self.driver = live.new {
    decl = decl, share = options.share, interfaces = interfaces,
    sink = setmetatable({ runner = self }, Sink),
    finished = function(...) finished(self, ...) end,
  }
  self.driver:start()
  return self
end

return runner
