-- SPDX-License-Identifier: Apache-2.0
--
-- What the engine tells, and has done: windows and their records, decisions and acts, the summary of a run. For
-- engine.lua, whose methods these are.
local counts = require "perilune.engine.counts"
local thrift = require "perilune.engine.thrift"
local units = require "perilune.base.units"

local Engine = {}

-- Whether a probe's records are one for each direction.
local function by_direction(planned, probe)
  for _, declared in ipairs(planned.windows) do
    if declared.probe == probe.name and declared.role == "rows" then return declared.index == "direction" end
  end
end

-- What of a probe's records is sent: the rows its policy asks for, and only directions that the hooks can see.
local function chosen_rows(self, probe, rows)
  local wanted = self.decl.records[probe.name]
  if wanted and wanted.top then return rows:top(wanted.top, wanted.by) end
  if #self.planned.roots == 1 and by_direction(self.planned, probe) then
    return rows:where { direction = self.planned.roots[1].direction }
  end
  return rows
end

function Engine:emit_records(closed, views, totals, time)
  for _, probe in ipairs(self.decl.probes) do
    local rows = views.rows[probe.name]
    if rows and not closed.unused[probe.name] then
      local chosen = chosen_rows(self, probe, rows)
      local json, message = chosen:json()
      local wanted = self.decl.records[probe.name]
      local omitted = wanted and wanted.top and rows:count() - chosen:count() or 0
      if not json then
        omitted = rows:count()
        self:emit({ event = "error", message = ("records of %s: %s"):format(probe.name, message),
          hint = 'ask for fewer: exports = { records "name" { top = { 100, "packets" } } }' }, time)
      end
      self:emit({
        event = "records", seq = closed.seq, probe = probe.name, template = probe.template,
        level = closed.level.name, sample_rate = thrift.rate(probe, closed.spare), rows_json = json or "[]",
        omitted = omitted, loss = counts.probe_loss(views, probe.name, totals),
      }, time)
    end
  end
end

-- The first rows of every probe with keys, for a screen; the deepest probe last.
local TOP = 10

local function top_of(self, closed, views)
  local out = {}
  for _, probe in ipairs(self.decl.probes) do
    local rows = views.rows[probe.name]
    if rows and probe.manifest.rows and not closed.unused[probe.name] then
      local list = rows:top(TOP, "packets"):copy()
      out[#out + 1] = { probe = probe.name, key_fields = probe.key, rows = list, more = rows:count() - #list }
    end
  end
  return out
end

-- Members of every set, as text, for a screen.
local function sets_of(self)
  if #self.decl.sets == 0 then return nil end
  local out = {}
  for name, members in pairs(self.decide:sets()) do
    out[name] = {}
    for i, member in ipairs(members) do out[name][i] = member.member end
  end
  return out
end

local function cost_of(cost)
  return cost and {
    swap_seconds = cost.swap, skew_seconds = cost.skew, grace_seconds = cost.grace, read_seconds = cost.read,
  }
end

function Engine:emit_window(closed, views, totals, time)
  local loss = counts.window_loss(views, totals)
  local sink = self.sink
  counts.add(self.totals, totals, counts.COUNTS)
  counts.add(self.loss, loss, counts.LOSS)
  counts.add(self.not_parsed_by, totals.not_parsed_by, counts.NOT_PARSED)
  counts.add(self.flawed_by, totals.flawed_by, counts.FLAWS)
  for direction, seen in pairs(totals.directions) do
    counts.add(self.directions[direction], seen, counts.COUNTS)
  end
  self.seen:add(closed, totals)
  self.windows = self.windows + 1
  self.seconds = self.seconds + closed.seconds
  closed.loss = loss
  self:emit({
    event = "window", seq = closed.seq, level = closed.level.name, start = closed.start, finish = closed.finish,
    seconds = closed.seconds, cut = closed.cut, deepest = closed.deepest and closed.deepest.name,
    deepest_seconds = closed.deepest and closed.raised
      and math.min(math.max(0, closed.mono + closed.seconds - closed.raised), closed.seconds),
    packets = totals.packets, skbs = totals.skbs, bytes = totals.bytes,
    loss = loss, not_parsed_by = totals.not_parsed_by, flawed_by = totals.flawed_by,
    directions = totals.directions, cost = cost_of(closed.cost),
    top = sink.wants_top and top_of(self, closed, views) or nil,
    sets = sink.wants_top and sets_of(self) or nil,
  }, time)
  if sink.wants_records then self:emit_records(closed, views, totals, time) end
end

function Engine:emit_decisions(result, closed, time)
  for _, failed in ipairs(result.errors) do
    self:emit({ event = "error", rule = failed.rule, message = failed.message, file = failed.file, line = failed.line,
      hint = failed.hint }, time)
  end
  for _, change in ipairs(result.rules) do
    self:emit({ event = "rule", seq = closed.seq, rule = change.rule, key = change.key, state = change.state,
      reason = change.reason, values = change.values or {}, why = change.why }, time)
  end
  self:act_all(result.actions, closed.seq, time)
end

function Engine:act_all(actions, seq, time)
  for _, action in ipairs(actions) do
    self:act(action, seq, time)
    if self.scoped[action.set] and not self.dry_run then self:change_scope(action, time) end
  end
  if self.performers then self.performers:flush(time) end
end

-- Says what is done; an event of the policy's own says it by itself.
function Engine:act(action, seq, time)
  if action.act == "emit" and not self.dry_run then
    self:emit({ event = "emit", seq = seq, name = action.text, rule = action.rule, key = action.key,
      reason = action.reason, values = action.values, fields = action.what.fields }, time)
    return
  end
  local outside = action.what and action.what.outside
  local dry = self.dry_run or outside and not (self.performers and self.performers:can(action.act)) or nil
  self:emit({ event = "action", seq = seq, act = action.act, set = action.set, member = action.member,
    rule = action.rule, key = action.key, undo = action.undo or false, text = action.text, dry_run = dry }, time)
  if outside and not dry then self.performers:perform(action, time) end
end

--- The end, at `time`: what lasts is taken back.
function Engine:release(time)
  self:act_all(self.decide:release "the run has ended", self.seq, time)
end

-- Before the level changes, so that a deeper probe finds its set filled from its first packet.
function Engine:change_scope(action, time)
  local ok, message = self.scope(action.set, action.member, not action.undo)
  if not ok then
    self:emit({ event = "error", rule = action.rule, message = message,
      hint = "probes limited by the set do not see that member" }, time)
  end
end

function Engine:emit_lapse(closed, time)
  if not closed.lapsed then return end
  self:emit({ event = "error",
    message = ("window %d: the lease of %s ran out, and %s ran for its last %s"):format(closed.seq, closed.level.name,
      self.decl.levels[1].name, units.print(closed.lapsed, "duration")),
    hint = "perilune was stopped or starved; every packet is counted, but deeper probes have not seen those" }, time)
end

-- Says once of each series that there are more keys than it remembers.
function Engine:tell_overflow(time)
  for what, count in pairs(self.decide:overflow().history) do
    if not self.failed_figures[what] then
      self.failed_figures[what] = true
      self:emit({ event = "error", message = ("%s: no room for %d keys or values"):format(what, count),
        hint = "for them the measure is not known; a filter or a coarser key makes fewer" }, time)
    end
  end
end

--- The end: totals over all windows. `detached`: list of { iface, hook, mode }. `left`: another process goes on.
function Engine:summary(time, detached, left)
  self:emit({ event = "summary", packets = self.totals.packets, skbs = self.totals.skbs,
    bytes = self.totals.bytes, windows = self.windows, transitions = self.transitions, loss = self.loss,
    not_parsed_by = self.not_parsed_by, flawed_by = self.flawed_by, directions = self.directions,
    seconds = self.seconds, levels = self.seen:list(), detached = detached, left = left }, time)
end

return Engine
