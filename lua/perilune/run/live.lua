-- SPDX-License-Identifier: Apache-2.0
-- The live driver: attaches a policy to its interfaces and runs its engine on the loop, until it is told to
-- stop.
--
--   build → attach → start (live_begin.lua) │ timer → flip → drain on a worker → engine:close │ …
--         … │ detach → flip → drain → summary (live_end.lua)
--
-- A window whose predecessor is not drained yet simply goes on; its flip follows as soon as that is done.
-- Whatever ends the run comes through stop(), once, and ends in `finished`.
local live_begin = require "perilune.run.live_begin"
local live_end = require "perilune.run.live_end"
local loop = require "perilune.core.loop"
local meter = require "perilune.run.meter"
local reload = require "perilune.run.reload"

local live = {}

local Live = {}
Live.__index = Live
for name, method in pairs(live_begin) do Live[name] = method end
for name, method in pairs(live_end) do Live[name] = method end

--- `options`: decl, share, sink, interfaces (list of { name, index } that must be there), dry_run, seconds (ends by
--- itself after that long), costs (costs.lua) or nil, audit (audit.lua) or nil, pin (perilune's version: what runs is
--- pinned, see pinning.lua), upgrade (a process that has the pins is asked to leave), finished = function(message,
--- code): called once, when everything is detached; with a message when it failed.
function live.new(options)
  local self = setmetatable({
    decl = options.decl, share = options.share, sink = options.sink, interfaces = options.interfaces,
    dry_run = options.dry_run, seconds = options.seconds, audit = options.audit, finished = options.finished,
    pin = options.pin, upgrade = options.upgrade, costs = options.costs,
    draining = false, waiting = {}, lulls = {},
  }, Live)
  self.timer = loop.timer(function() self:tick() end)
  self.bound = loop.timer(function() self:stop() end)
  self.alarm = loop.timer(function() self:reconsider() end)
  -- Windows keep the wall clock of packets right by themselves; when it is set, at once.
  self.steps = loop.on_step(function()
    if self.probe and not self.ended then self.probe:clock() end
    self:reconsider()
  end)
  return self
end

-- For those who have something to say while windows go on.
function Live:emitter()
  return function(event, wall)
    if self.ended then return end
    if event.event == "attach" and self.tap then self.tap:interface(event.ifindex, event.iface) end
    self.engine:emit(event, wall or loop.wall())
    self:check_sink()
  end
end

--- Says that something is wrong that does not end the run.
function Live:problem(message, hint)
  if self.engine and not self.ended then self:emitter() { event = "error", message = message, hint = hint } end
end

--- Another declaration takes the place of the one that runs, if it can: done(true), or done(nil, message, code)
--- and this one runs on. interfaces: as for new().
function Live:replace(decl, interfaces, done) reload.start(self, decl, interfaces, done) end

--- Calls fn() when the loop can spare so many seconds before the window is due to end, else once the next has begun.
function Live:lull(seconds, fn)
  if self.engine and self.engine.current and not self.stopping
    and (self.draining or loop.now() + seconds > self.engine:due()) then
    table.insert(self.lulls, fn)
  else
    fn()
  end
end

-- After a reload, what is kept is another engine's. What only the new one keeps was not looked for before.
function Live:remember_anew()
  local _, any = self.engine:kept()
  if self.kept and any then return self.kept:follow(self.engine) end
  if self.kept then self.kept:close() end
  self.kept = nil
  if any then self:remember() end
end

-- Measures what the policy costs, if it has a budget. A dry run gives nothing up, so it measures nothing.
function Live:watch_budget()
  if self.meter then self.meter:stop() end -- of a declaration before
  self.meter = nil
  if not self.decl.budget or self.dry_run then return end
  local programs = {}
  for i, root in ipairs(self.planned.roots) do programs[i] = root.program end
  self.meter = meter.new {
    decl = self.decl, probe = self.probe, programs = programs, engine = self.engine, emit = self:emitter(),
    force = function() return self.force end, draining = function() return self.draining end,
  }
  self.meter:start()
end

-- What a packet costs at a level (its index): as measured, else as recorded; nil when nobody knows.
function Live:cost_at(level, spare)
  local measured = self.meter and self.meter:cost(level)
  return measured or self.costs and self.costs:ns(self.decl.levels[level].name, spare)
end

-- Whether the level changes for what is not a rule's: then the window ends at once. Also sees to be called again.
function Live:reconsider()
  if not self.engine or not self.engine.current or self.stopping or self.ended then return end
  if self.draining then return end -- settle() comes back to it
  local wall, mono = loop.wall(), loop.now()
  local cut = self.engine:reconsider(wall, mono)
  if cut then return self:flip(cut) end
  local alarm = self.engine:alarm(wall, mono)
  if alarm == math.huge then return self.alarm:stop() end
  self.alarm:start(alarm)
end

-- Which triggers are tested from now on, and which may raise the level.
function Live:arm()
  if self.trips then self.probe:arm(self.engine:triggers()) end
end

-- Triggers have tripped in the kernel, and may have raised the level: their rules fire, and the window ends. While the
-- last window is drained, they belong to the one that has begun meanwhile.
function Live:tripped(list)
  if not self.engine.current or self.stopping then return end
  for _, trip in ipairs(list) do table.insert(self.waiting, trip) end
  if self.draining then return end
  self:take_trips()
  if not self.flipping and not self.stopping then self:follow() end
end

function Live:take_trips()
  local list = self.waiting
  self.waiting = {}
  for _, trip in ipairs(list) do
    self.engine:trip(trip, loop.wall() - math.floor((loop.now() - trip.mono) * 1e6))
  end
  self:arm()
  self:check_sink()
end

-- Ends the window when the level is no longer the one that it began with. Returns whether it was so.
function Live:follow()
  if not self.trips or (self.engine:level() == self.engine.current.level and not self.probe:raised()) then
    return false
  end
  self:flip "trigger"
  return true
end

-- Leases run anew. Where one has run out since the last time, the kernel has fallen back, and the window says so.
function Live:renew()
  local now = loop.now()
  local level = self.engine.current and self.engine.current.level
  local out = self.renewed and level and level.lease and now - self.renewed - level.lease or 0
  if out > 0 and not self.taken_down then self.engine:lapse(out) end
  self.renewed = self.engine:renewed(now)
  self.probe:renew(self.renewed)
end

-- Ends the window: one store, or a trigger's that was earlier. Its maps are then drained on a worker.
function Live:flip(cut)
  self.flipping = true
  if self.trips then self.trips:consume() end -- what has tripped counts now, not after a window of another level
  self.flipping = false
  local _, index = self.engine:level()
  local spare = self.engine:spare()
  self:renew()
  local wall, mono, began = self.probe:flip(index, spare.thin, spare.mask)
  if not wall then
    if began == "EBUSY" then return end -- it is still draining; settle() comes back to it
    return self:fail(mono, began)
  end
  spare = self.engine:spare(began)
  if began.level + 1 ~= self.force.level or spare ~= self.force.spare then
    self.force = { level = began.level + 1, spare = spare }
    if self.meter then self.meter:changed() end
  end
  self.probe:clock()
  self.draining, self.due, self.cut_asked = true, false, false
  local level = self.decl.levels[began.level + 1]
  if began.by_trigger and cut ~= "exit" then cut = "trigger" end
  local function drain(maps, done)
    if self.pinned then return self.pinned:read(self, maps, done) end
    return self.probe:drain(maps, done)
  end
  local ok, message, code = drain(self.engine:maps(began.deepest), function(batches, cost, failure_code)
    self.draining = false
    self:settle({ cut = cut, wall = wall, mono = mono, level = level, spare = spare }, batches, cost, failure_code)
  end)
  if not ok then
    self.draining = false
    return self:fail(message, code)
  end
  if not self.stopping then self.timer:start(mono + level.window) end
end

-- The window that `flip` has ended is read: judge it, then see what has come up meanwhile. `cost`: what that took, or
-- without batches why it failed.
function Live:settle(flipped, batches, cost, code)
  if not batches then
    self.broken = true
    return self:fail(cost, code)
  end
  local counts = self.pinned and self.pinned.counts(batches)
  local changed = self.engine:close(flipped.cut, flipped.wall, flipped.mono, batches, cost)
  if flipped.cut == "exit" then return self:ended_well(flipped.wall) end
  if self.kept and not self.dry_run then self.kept:tick(flipped.mono) end
  self.engine:begin(flipped.wall, flipped.mono, flipped.level, flipped.spare)
  if not self.pinned then return self:go_on(changed) end
  self.draining = true
  self.pinned:commit(self, counts, function(failure, failure_code)
    self.draining = false
    if failure then
      self.broken = true
      return self:fail(failure, failure_code)
    end
    if flipped.cut == "clock" then self.pinned:judged(self) end
    self:go_on(changed)
  end)
end

-- Nothing is being read: what has come up meanwhile.
function Live:go_on(changed)
  if self.leaving and not self.stopping then return self:part() end
  self:take_trips()
  if not changed then self:take_lulls() end
  if self.stopping then
    self:take_down()
  elseif changed then
    self:flip(changed) -- the window that has begun meanwhile is at the old level: cut, so that every window has one
  elseif self:follow() then
    return
  elseif self.cut_asked then
    self:flip "request"
  elseif self.next and self.next.probe then
    reload.swap(self)
  elseif self.due then
    self:tick()
  else
    self:reconsider()
  end
end

function Live:take_lulls()
  local list = self.lulls
  self.lulls = {}
  for _, fn in ipairs(list) do fn() end
end

function Live:tick()
  if self.stopping then return end
  self.due = self.draining
  if not self.draining then self:flip "clock" end
end

--- Ends the window at once, for somebody who asks. Returns whether the one before it is still being read.
function Live:cut_now()
  if self.stopping then return self.draining end
  local before = self.draining
  self.cut_asked = true
  if not before then self:flip "request" end
  return before
end

return live
