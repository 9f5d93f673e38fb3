-- SPDX-License-Identifier: Apache-2.0
-- How a live run begins: compiled, loaded, attached, and whatever has to listen listens. For live.lua, whose methods
-- these are.
local attachments = require "perilune.run.attachments"
local build = require "perilune.build"
local calls = require "perilune.engine.calls"
local deliver = require "perilune.run.deliver"
local engine = require "perilune.engine"
local exports = require "perilune.build.exports"
local kept = require "perilune.engine.kept"
local loop = require "perilune.core.loop"
local performers = require "perilune.run.performers"
local pinning = require "perilune.run.pinning"
local tapper = require "perilune.run.tapper"
local triggers = require "perilune.policy.triggers"

local Live = {}

--- Compiles, loads, verifies, attaches; then windows go on until stop().
function Live:start()
  local decl = self.decl
  self.sink:status(("compiling %s: %d level%s, %d probe%s"):format(decl.name, #decl.levels,
    #decl.levels == 1 and "" or "s", #decl.probes, #decl.probes == 1 and "" or "s"))
  if not self.dry_run then
    local message, code
    self.exports, message, code = exports.open(decl)
    if message then return self:fail(message, code) end
  end
  if self.pin then
    local message, code
    self.pinned, message, code = pinning.open(decl, self.pin, self.upgrade)
    if message then return self:fail(message, code) end
  end
  local with = { share = self.share, exports = self.exports, pinned = self.pinned }
  self.compilation = build.start(decl, with, function(probe, info, code)
    self.compilation = nil
    if self.stopping then
      if probe then probe:close() end
      return self:finish()
    end
    if not probe then return self:fail(info, code) end
    self.probe = probe
    self.planned = info.planned
    self.sink:status(("loaded and verified in %.0f ms%s"):format(info.seconds * 1000,
      decl.bundle and ", from the bundle" or info.cached and ", from the cache" or ""))
    if self.sink.loaded then
      self.sink:loaded { seconds = info.seconds, load_seconds = info.load_seconds, cached = info.cached or false }
    end
    local tap, message, failure = self:tapper(probe)
    if message then return self:fail(message, failure) end
    self.performers = performers.new {
      notify = not self.dry_run and deliver.new(decl, self:emitter()) or nil, capture = tap,
    }
    self.engine = engine.new { decl = decl, planned = info.planned, sink = self.sink, dry_run = self.dry_run,
      scope = build.scope(probe), calls = calls.new(decl), performers = self.performers, audit = self.audit }
    self.engine.claimed = function() self:reconsider() end
    self.engine.cost_at = function(level, spare) return self:cost_at(level, spare) end
    local ok
    ok, message, failure = self:listen(probe, decl)
    if not ok then return self:fail(message, failure) end
    self:attach()
  end)
end

function Live:tapper(probe)
  if self.dry_run then return nil end
  local message, code
  self.tap, message, code = tapper.new(self.decl, probe, self:emitter())
  return self.tap, message, code
end

-- Listens to the triggers of a declaration, if it has any. nil, message, code when that fails.
function Live:listen(probe, decl)
  if #decl.triggers == 0 then return true end
  loop.urgent() -- whoever waits for a trip waits for this thread too
  local message, code
  self.trips, message, code = probe:events("trigger_events", "trigger_event", function(batch)
    self:tripped(triggers.trips(batch))
  end)
  return self.trips ~= nil, message, code
end

-- When all that must be attached is, the run has begun.
function Live:attach()
  self.attachments = attachments.new {
    probe = self.probe, roots = self.planned.roots, attach = self.decl.attach,
    emit = self:emitter(), listed = self.pinned and function(done) self.pinned:drop(self, done) end,
  }
  self.attachments:start(self.interfaces, function(ok, message, code)
    if self.stopping then return self:take_down() end
    if not ok then return self:fail(message, code) end
    if self.pinned and self.pinned.adopted then return self:adopt() end
    if self.pinned then
      self.pinned:start(self)
    else
      self.engine:start(loop.wall(), loop.now())
    end
    self:begin()
  end)
end

-- Goes on where another process has left off; the window that it had begun ends now.
function Live:adopt()
  self.draining = true
  self.pinned:resume(self, function(ok, message, code)
    self.draining = false
    if not ok then
      self.broken = true
      return self:fail(message, code)
    end
    if self.stopping then return self:take_down() end
    self:begin()
    if not self.stopping then self:flip "adopted" end
  end)
end

-- What the policy learnt in earlier runs.
function Live:remember()
  self.kept = kept.new(self.decl.name, self.engine, function(message, hint)
    self.engine:emit({ event = "error", message = message, hint = hint }, loop.wall())
  end)
  local found = self.kept and self.kept:restore(loop.wall() / 1e6) or 0
  if found > 0 then
    self.sink:status(("%d baseline%s of earlier runs, from %s"):format(found, found == 1 and "" or "s",
      self.kept:path()))
  end
end

function Live:begin()
  self:remember()
  self.force = { level = 1, spare = self.engine.current.spare } -- what the kernel runs
  if self.exports then self.exports:tell(self:emitter(), false) end
  local ok, message, code = self.attachments:begin()
  self:check_sink()
  if self.stopping then return end
  if not ok then return self:fail(message, code) end
  self:arm()
  self:watch_budget()
  self.timer:start(self.engine:due())
  if self.seconds then self.bound:start(loop.now() + self.seconds) end
  if self.leaving then return self:part() end
  self:reconsider()
end

return Live
