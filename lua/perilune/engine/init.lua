-- SPDX-License-Identifier: Apache-2.0
-- The engine: what happens when a window closes. It alone sequences the stages
--
--   batches → views → totals, events → sample → decide → ladder → the level of the next window
--
-- and knows neither clocks nor the kernel: a driver (live.lua, replay.lua) flips, drains and tells it when.
-- What is not a rule's takes its levels through claim(); that may change the level between two windows' ends too.
-- So the same engine runs on packets and on captures, and a test feeds it batches. What it has counted is read by
-- engine/counts.lua, what it tells is in engine/tell.lua, and how it goes on in another in engine/succession.lua.
local counts = require "perilune.engine.counts"
local decide = require "perilune.engine.decide"
local levels = require "perilune.engine.levels"
local levels_seen = require "perilune.engine.levels_seen"
local past = require "perilune.engine.past"
local sample = require "perilune.engine.sample"
local schedules = require "perilune.engine.schedules"
local shape = require "perilune.records.shape"
local state = require "perilune.policy.state"
local succession = require "perilune.engine.succession"
local tell = require "perilune.engine.tell"
local thrift = require "perilune.engine.thrift"
local view = require "perilune.records.view"

local engine = {}

local Engine = {}
Engine.__index = Engine
for _, methods in ipairs { succession, tell } do
  for name, method in pairs(methods) do Engine[name] = method end
end

--- `decl`: a policy's declaration; `planned`: plan.build's result; `sink`: where events go (sink:event(e);
--- sink.wants_records and sink.wants_top say what it can use; without them that work is not done;
--- sink:keep(window, views, close), if it has that, gets each window's views and calls close(views) when it needs
--- them no more); `dry_run`:
--- rules are evaluated, levels and acts are not; scope(set, member, in): puts a member into a set in the kernel, or
--- takes it out; nil, message when that fails; calls: how the policy's functions are called (calls.lua), in this
--- process when nil; performers: who does what acts want done outside (performers.lua), nobody when nil; audit:
--- hears of all that decides (audit.lua). Who knows what a packet costs at a level (its index) sets engine.cost_at:
--- a function of it and of the state of thrift.lua → ns or nil.
function engine.new(options)
  local self = setmetatable({
    decl = options.decl,
    planned = options.planned,
    sink = options.sink,
    dry_run = options.dry_run,
    scope = options.scope,
    calls = options.calls,
    performers = options.performers,
    audit = options.audit,
    decide = decide.new(options.decl, {
      call = options.calls and options.calls:caller(), notice = options.audit and options.audit:noticer(),
    }),
    levels = levels.new(options.decl.levels),
    thrift = thrift.new(options.decl),
    seen = levels_seen.new(options.decl.levels),
    schedules = schedules.new(options.decl),
    seq = 0,
    windows = 0,
    transitions = 0,
    seconds = 0,
    totals = counts.zeros(counts.COUNTS),
    loss = counts.zeros(counts.LOSS),
    not_parsed_by = counts.zeros(counts.NOT_PARSED),
    flawed_by = counts.zeros(counts.FLAWS),
    directions = {},
    scoped = {},
    failed_figures = {},
    state = options.decl.state and state.new(options.decl.state),
    silent = 0,
  }, Engine)
  self.past = past.new(self.decide:has_functions() and options.decl.history or 0)
  if self.calls then self.calls.state = self.state end
  for _, set in ipairs(options.decl.sets or {}) do self.scoped[set.name] = set.scope or set.export end
  for _, root in ipairs(self.planned.roots) do self.directions[root.direction] = counts.zeros(counts.COUNTS) end
  return self
end

function Engine:emit(event, time)
  event.policy = self.decl.name
  event.time = time
  local ok, message, code = self.sink:event(event)
  if ok == nil and code then self.sink_failure = self.sink_failure or { message, code } end
  if self.audit then self.audit:event(event) end
end

-- A disk that is full ends no run, and stays no secret.
function Engine:begin_audit(time, adopted)
  if not self.audit then return end
  function self.audit.failed(message, when)
    self:emit({ event = "error", message = "the audit log lacks lines from now on: " .. message,
      hint = "it goes on when it can be written again" }, when)
  end
  self.audit:begin(self.decide, self.levels, time, adopted)
end

--- The level in force, as declared, and its index in the kernel (from 0).
function Engine:level()
  local index = self.levels:index()
  return self.decl.levels[index], index - 1
end

--- How much probes are to look at (thrift.lua), for the next flip. With `began`, what that flip says that the next
--- window has begun with: how much they do, for begin(); where a trigger was faster, as much as before.
function Engine:spare(began)
  local spare = self.thrift:state()
  if began and (began.thin ~= spare.thin or began.shed ~= spare.mask) then return self.current.spare end
  return spare
end

--- A window begins, at the level and in the state that the kernel has run since the flip. Times: wall in whole µs
--- since the epoch; mono in seconds of one steady clock.
function Engine:begin(wall, mono, level, spare)
  self.seq = self.seq + 1
  self.current = { seq = self.seq, start = wall, mono = mono, level = level, spare = spare or self:spare() }
end

--- The run begins, at the base level, and says so; `about`: as for tell_start.
function Engine:start(wall, mono, about)
  self:begin(wall, mono, self.decl.levels[1])
  self:tell_start(wall, about)
end

--- Says that the run begins; `about`: what of another run it goes on with (pinning.lua), { boot, seq, adopted }.
function Engine:tell_start(wall, about)
  local decl, names = self.decl, {}
  for i, level in ipairs(decl.levels) do names[i] = level.name end
  about = about or {}
  self:begin_audit(wall, about.adopted)
  self:emit({ event = "start", file = decl.file, levels = names, window = decl.levels[1].window, boot = about.boot,
    seq = about.seq, adopted = about.adopted }, wall)
end

--- Which maps the current window may have filled, by position: what is to be drained at its end. `deepest`: the
--- highest level (an index in the kernel) that a trigger has raised it to meanwhile, if any has.
function Engine:maps(deepest)
  local maps, from = {}, nil
  for i, level in ipairs(self.decl.levels) do
    if level == self.current.level then from = i end
    if from and (i == from or i - 1 <= (deepest or 0)) then
      for position, wanted in ipairs(self.planned.maps[i]) do maps[position] = maps[position] or wanted end
      if i > from then self.current.deepest = level end
    end
  end
  return maps
end

--- Seconds of the driver's clock at which the current window is due to end.
function Engine:due()
  return self.current.mono + self.current.level.window
end

-- What decide gets to see of a window.
function Engine:sample(closed, views, time)
  return sample.new(closed, views.rows, {
    probes = self.decl.probes, decider = self.decide, failed = self.failed_figures, state = self.state,
    past = self.past,
    report = function(message, hint) self:emit({ event = "error", message = message, hint = hint }, time) end,
  })
end

-- Packets a second that there were for a sampled probe that follows load, by name.
local function loads_of(self, seen, views)
  local loads = {}
  for _, probe in ipairs(self.decl.probes) do
    local rows, other = views.rows[probe.name], views.other[probe.name]
    if probe.sample and probe.sample.target and seen.observed[probe.name] then
      local packets = shape.total(rows, "packets") + (other and shape.total(other, "packets") or 0)
      loads[probe.name] = packets / seen.seconds
    end
  end
  return loads
end

--- Who is not a rule holds or caps a level from now on, or does so no more: `who` ("budget", "schedule night",
--- "operator") is its name in held_by and capped_by, `claim` is as in claims.lua, with `expires` in seconds of the
--- driver's clock. The driver is told (`claimed`), so that it need not wait for the window's end. `anew`: though
--- it may have held that level for the longest that it may be in force.
function Engine:claim(who, claim, anew)
  if self.audit then self.audit:claimed(who, claim, anew, self.current and self.current.start) end
  if self.levels:claim(who, claim, anew) and self.claimed and not self.closing then self.claimed() end
end

--- How many packets hooks have seen in all windows that were closed, and, when `batch` is what the current one has as
--- yet in the first of planned.windows, in that. Closes it.
function Engine:passed(batch)
  if not batch then return self.totals.skbs end
  local totals = view.new(batch, { window = self.seq, seconds = 0 })
  local passed = self.totals.skbs + shape.total(totals, "skbs")
  totals:close()
  return passed
end

--- The budget gives up, or back: from now on thin (halvings), shed (list of probes), cap (name of a level, or nil).
function Engine:give(thin, shed, cap, why)
  self.thrift:give(thin, shed)
  local claim = { cap = cap, cut = "budget", why = why }
  if self.levels:claim("budget", claim) and self.audit then
    self.audit:claimed("budget", claim, false, self.current.start)
  end
  if self.claimed and not self.closing then self.claimed() end
end

--- The index (from 1) of the highest level that is held, whatever its caps.
function Engine:wanted() return self.levels:wanted() end

--- A person wants this level and no other, for `seconds` from `mono` on (nil: until unpin). nil, message when
--- there is no such level.
function Engine:pin(level, mono, seconds)
  local ok, message = self.levels:known(level)
  if not ok then return nil, ("%s: %s"):format(self.decl.name, message) end
  self:claim("operator", { hold = level, cap = level, expires = seconds and mono + seconds }, true)
  return true
end

function Engine:unpin() self:claim("operator", {}) end

--- From when on the lease of level() may run, when it is renewed at `mono`.
function Engine:renewed(mono) return self.levels:renewed(mono) end

--- Nobody has renewed the lease of the current window's level for too long: for so many seconds of it the kernel
--- ran the base level.
function Engine:lapse(seconds) self.current.lapsed = seconds end

--- Between two windows' ends, when something was claimed or alarm() has come: whether the level changes for it.
--- Returns the word that the driver is to cut the window with, which then ends at once, and the next one is at
--- level(); or nil.
function Engine:reconsider(wall, mono)
  if self.dry_run or not self.current then return nil end
  self:see_schedules(wall)
  local told = self.audit and self.levels:pending(mono)
  local cut = self.levels:reconsider(mono)
  if self.audit and (told or cut) then self.audit:reconsidered(mono, wall) end
  return cut or self.thrift:cut(self.current.spare)
end

--- A trigger has tripped in the kernel: { trigger (from 0), mono (seconds), by (what its counters were in the slice,
--- in their order), raised (whether it has raised the level) }. Its rule fires now. Returns the word to cut the window
--- with, or nil when the level does not change.
function Engine:trip(trip, wall)
  local trigger = self.decl.triggers[trip.trigger + 1]
  local current = self.current
  if trip.raised and trip.mono >= current.mono then
    current.raised = math.min(trip.mono, current.raised or trip.mono)
  end
  if self.decide:is_firing(trigger.rule) then return nil end
  local sums = {}
  for i, counter in ipairs(trigger.counters) do sums[counter.probe .. "." .. counter.field] = trip.by[i] end
  local result = self.decide:trip(trigger.rule, {
    seconds = trigger.slice, start = trip.mono - trigger.slice, finish = trip.mono,
    total = function(probe, field) return sums[probe .. "." .. field] or 0 end,
  })
  if self.audit then self.audit:tripped(trigger.rule, trip.mono, trigger.slice, wall) end
  self:emit_decisions(result, self.current, wall)
  return not self.dry_run and self.levels:trip(trip.mono, result.holds, result.rules) or nil
end

--- Which triggers the kernel is to test, and which of them may raise the level: a bit of each number for each.
function Engine:triggers()
  local armed, raising = 0, 0
  for i, trigger in ipairs(self.decl.triggers) do
    if not self.decide:is_firing(trigger.rule) then
      armed = armed + 2 ^ (i - 1)
      local to = not self.dry_run and trigger.to
      if to and self.levels:is_free(to + 1) then raising = raising + 2 ^ (i - 1) end
    end
  end
  return armed, raising
end

-- What schedules claim at this time.
function Engine:see_schedules(wall)
  if not self.schedules then return end
  self.schedules:see(wall, function(who, claim)
    if self.levels:claim(who, claim) and self.audit then self.audit:claimed(who, claim, false, wall) end
  end)
end

--- When to reconsider though nothing is claimed anew, in seconds of the driver's clock, which reads `mono` when the
--- wall clock reads `wall`; math.huge: never.
function Engine:alarm(wall, mono)
  if self.dry_run then return math.huge end
  local schedule = self.schedules and self.schedules:again() or math.huge
  return math.min(self.levels:due(), mono + (schedule - wall) / 1e6)
end

-- What a packet costs at a level (its name), ns; nil when nobody knows.
function Engine:cost_of(name)
  for i, level in ipairs(self.cost_at and self.decl.levels or {}) do
    local ns = level.name == name and self.cost_at(i, self.thrift:state())
    if ns then return math.floor(ns + 0.5) end
  end
end

-- Tells of the changes that cut this window short, and sees what the window itself changes. Returns the word to cut
-- by when it does.
function Engine:change_level(result, closed, finish, time)
  local list, cut = self.levels:take(), nil
  if not self.dry_run and closed.cut ~= "exit" then
    if self.audit and self.levels:pending(finish) then self.audit:tell() end
    local change = self.levels:judge(finish, result.holds, result.rules)
    list[#list + 1], cut = change, change and change.cut
  end
  for _, change in ipairs(list) do
    self.transitions = self.transitions + 1
    self:emit({ event = "transition", seq = closed.seq, from = change.from, to = change.to, rule = change.rule,
      held_by = change.held_by, capped_by = change.capped_by, values = change.values, reason = change.reason,
      after = self.seen:entered(change.to), loss = self.loss,
      cost_before = self:cost_of(change.from), cost_after = self:cost_of(change.to) }, time)
  end
  return cut
end

--- The current window has ended and its maps are read. `cut`: why it ended ("clock", "level", "exit"); wall
--- and mono: when; `batches`: by position in planned.windows; `cost`: what that took, { swap =, skew =, grace =,
--- read = } in seconds, if it is known. Emits everything that follows from it. Returns the word to
--- cut by when the level has changed: the driver then cuts the window that has begun meanwhile.
function Engine:close(cut, wall, mono, batches, cost)
  local closed = self.current
  self.closing = true -- what is claimed now counts when the window has been judged
  closed.cost, closed.skew = cost, cost and cost.skew or 0
  closed.finish = wall
  closed.seconds = math.max(0, math.floor((mono - closed.mono) * 1e6 + 0.5) / 1e6) -- whole µs
  closed.cut = cut
  -- A window that a level change cut short is too short to judge by; it is counted like any other. The budget changes
  -- nothing that rules see, so what it cuts is judged, if it is not too short.
  -- One that had two levels is no better: what of it was deep is not known.
  closed.decisive = (cut == "clock" or cut == "budget" and closed.seconds >= closed.level.window / 2)
    and not closed.lapsed
  local views = counts.open_views(self.planned, batches, closed)
  closed.unused = self:unused(closed, views)
  local totals = counts.read_totals(views, self.directions)
  self:emit_window(closed, views, totals, wall)
  self:emit_lapse(closed, wall)
  local seen = self:sample(closed, views, wall)
  if not self.dry_run and cut ~= "exit" then self:see_schedules(wall) end
  if closed.decisive then self.thrift:follow(loads_of(self, seen, views)) end
  self:end_hold_over(closed, wall)
  local result = self.decide:step(seen)
  if self.calls then self.calls:finish() end
  if self.audit then self.audit:judged(closed, mono, result, seen.text, wall) end
  self.past:add(closed, views.rows)
  self.silent = totals.packets == 0 and self.silent + 1 or 0
  self:tell_overflow(wall)
  self:emit_decisions(result, closed, wall)
  local changed = self:change_level(result, closed, mono, wall)
  if self.sink.keep then
    self.sink:keep(closed, views, counts.close_views)
  else
    counts.close_views(views)
  end
  if self.audit then self.audit:closed(self.decide, self.levels, wall) end
  self.closing = false
  return changed
end

--- Windows without packets, which could change nothing, were not closed: the current one begins that much later.
function Engine:skip(seconds)
  local current, observed = self.current, {}
  for _, probe in ipairs(current.level.probes) do observed[probe] = true end
  self.decide:skip { seconds = seconds, window = current.level.window, start = current.mono, wall = current.start / 1e6,
    observed = observed }
  current.start, current.mono = current.start + math.floor(seconds * 1e6 + 0.5), current.mono + seconds
  self.seconds = self.seconds + seconds
  self.seen:skip(current.level, seconds)
end

--- Whether windows without packets can change nothing until alarm(): no rule has something left to clear.
function Engine:at_rest()
  if self.past.most > 0 and (self.state or self.silent <= self.past.most) then return false end
  return self.decide:at_rest()
end

-- Probes whose maps were read only in case the kernel had fallen back to the base level, or been raised to another,
-- and those that were shed.
function Engine:unused(closed, views)
  local unused = {}
  for _, probe in ipairs(self.decl.probes) do
    local rows = closed.deepest and views.rows[probe.name]
    unused[probe.name] = not rows or rows:count() == 0
  end
  for _, name in ipairs(closed.level.probes) do unused[name] = closed.spare.shed[name] end
  return unused
end

return engine
