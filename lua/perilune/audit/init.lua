-- SPDX-License-Identifier: Apache-2.0
--
-- The audit log of one policy: what led to every change of level, and what it was made of, so that it can be told
-- (explain.lua) and evaluated again (audit/verify.lua). Pure: lines go to `write`.
--
-- Windows are not logged. A window is where anything came of it: where a condition came to another result than
-- before, or a timer of `lasting` began or ended, for an instance of a rule that is remembered. What was read of
-- such an instance is logged with it; in the windows until the next such line the results are the same, whatever
-- the figures are, and timers run on as they were. So a `judged` line has all that changed, and the time of the
-- window before it, at which nothing had come of it yet.
--
--   audit         the policy: levels, rules, sets, and the state they are in: at the beginning of every file
--   judged        a window, with what was read; then what came of it: rule, action, transition, error
--   tripped       a trigger in the kernel fired a rule between windows
--   reload        another declaration takes the place of this one; rules that do not go on are cleared, and the log
--                 begins anew with it, in the state that the others have come to
--   claim         somebody who is not a rule holds or caps a level; reconsidered: levels are looked at for it
--   start, attach, detach, budget, emit, summary …   as run --json prints them
--
-- A process that goes on with what another has left (pinning.lua) goes on with its log as well. Rules, sets and claims
-- begin anew then, whatever the other had come to, so its `audit` line says that it has adopted.

local audit_condition = require "perilune.audit.condition"
local audit_event = require "perilune.event.audit_event"
local audit_state = require "perilune.audit.state"
local event = require "perilune.event"

local audit = {}

local Audit = {}
Audit.__index = Audit

-- What of the events of a run is no news to whoever asks why a level changed.
local LEFT_OUT = { window = true, records = true }

--- decl; dry_run; file: write(text) → true | nil, message, of lines; full() → whether it is time for another file;
--- rotate() → true | nil, message: makes one.
function audit.new(options)
  return setmetatable({
    decl = options.decl, dry_run = options.dry_run or false, file = options.file, n = 0, inputs = {},
    lost = 0, -- lines that could not be written since the last that could
  }, Audit)
end

-- Once a line is lost, those after it make no sense: they are counted, until the log can begin anew.
function Audit:write(text, time)
  self.n = self.n + 1
  if self.lost > 0 then
    self.lost = self.lost + 1
    return
  end
  local ok, message = self.file:write(text)
  if ok then return end
  self.lost = 1
  if self.failed then self.failed(message, time) end
end

function Audit:log(e, time)
  e.n, e.policy, e.time = self.n + 1, self.decl.name, time
  self:write(event.encode(e) .. "\n", time)
end

--- The log goes on with another declaration of the policy, of which begin() tells: its recorder.
function Audit:follow(decl)
  local next = audit.new { decl = decl, dry_run = self.dry_run, file = self.file }
  next.lost, next.before, next.adopted = self.lost, self.before, self.adopted
  return next
end

-- Which leaves of the conditions each slot is, and the rule as the log describes it.
local function described(rule)
  local slots = { n = 0 }
  local when = audit_condition.data(rule.when, slots)
  local clear = rule.clear and audit_condition.data(rule.clear, slots)
  local add = {}
  for _, act in ipairs(rule.act or {}) do
    if act.kind == "add" then add[#add + 1] = act.set end
  end
  return {
    name = rule.name, when = when, clear = clear, when_text = audit_condition.text(when),
    clear_text = clear and audit_condition.text(clear),
    per = rule.per and { probe = rule.per.probe, field = rule.per.field },
    probes = rule.probes or {}, hold = rule.hold, add = add, line = rule.line,
  }
end

local function head_of(decl)
  local head = { options = {}, levels = {}, rules = {}, sets = {} }
  for _, option in ipairs(decl.options or {}) do
    local value = option.value
    if value ~= nil then head.options[option.name] = type(value) == "table" and tostring(value) or value end
  end
  for i, level in ipairs(decl.levels) do
    head.levels[i] = { name = level.name, window = level.window, lease = level.lease, longest = level.longest,
      probes = level.probes }
  end
  for i, rule in ipairs(decl.rules) do head.rules[i] = described(rule) end
  for i, set in ipairs(decl.sets) do
    head.sets[i] = { name = set.name, of = set.of, max = set.max, ttl = set.ttl, members = set.members or {} }
  end
  return head
end

--- The log begins, or begins anew, with `decider` (decide.lua) and `levels` (levels.lua) as they are. adopted: a
--- process that is gone has brought the policy here.
--- audit.failed(message, time), if somebody sets it, hears of the first line that cannot be written.
function Audit:begin(decider, levels, time, adopted)
  local head, lost, state = head_of(self.decl), self.lost, audit_state.take(decider, levels)
  state.finish = self.before and self.before.finish -- of the last window by which rules were judged
  self.n, self.lost, self.candidate = 0, 0, nil
  self.adopted = adopted or self.adopted -- until a line says so
  self:log({ event = "audit", format = audit_event.format, file = self.decl.file, dry_run = self.dry_run,
    options = head.options, instances = decider.most, levels = head.levels, sets = head.sets, rules = head.rules,
    state = state, adopted = self.adopted, lost = lost > 0 and lost or nil }, time)
  if self.lost > 0 then self.lost = lost + 1 else self.adopted = nil end
end

--- No line comes any more: another process may have the file.
function Audit:close() self.file:close() end

--- For decide.new: hears of every instance that is judged.
function Audit:noticer()
  return function(rule, instance, row, when, clear, env)
    if row then
      if not instance.moved and instance.came_to == when and instance.cleared == clear then return end
      instance.moved, instance.came_to, instance.cleared = nil, when, clear
      local values, slot = {}, 0
      for _, condition in ipairs { rule.when, rule.clear } do
        for _, get in ipairs(condition.inputs) do
          slot = slot + 1
          values[slot] = get(row, env, instance)
        end
      end
      instance.inputs = values
    end
    self.inputs[#self.inputs + 1] = { rule = rule, instance = instance, values = row and instance.inputs or {} }
  end
end

-- The inputs of a window, as they are logged. Keys of instances that nothing was said of yet have no text.
local function told_inputs(inputs, text)
  local list = {}
  for i, input in ipairs(inputs) do
    local rule, instance = input.rule, input.instance
    local per = rule.grouping ~= nil
    list[i] = {
      rule = rule.name, raw = per and audit_state.hex(instance.raw) or nil,
      key = per and (instance.key or text(rule.grouping.probe, rule.grouping.field, instance.raw)) or nil,
      values = input.values,
    }
  end
  return list
end

-- The window that is being judged, or was judged last, is worth its line.
function Audit:tell()
  local candidate = self.candidate
  self.candidate = nil
  if candidate then self:log(candidate.event, candidate.time) end
end

--- A window was judged, and what came of it (result: decide.lua's) is about to be told. closed: the engine's window;
--- now: when it ended, as levels count; text(probe, field, raw) → a key's text.
function Audit:judged(closed, now, result, text, time)
  local inputs = self.inputs
  self.inputs = {}
  self.candidate = { time = time, event = {
    event = "judged", seq = closed.seq, level = closed.level.name, cut = closed.cut, decisive = closed.decisive,
    start = closed.mono, seconds = closed.seconds, now = now, before = self.before, inputs = told_inputs(inputs, text),
  } }
  if closed.decisive and closed.seconds > 0 then
    self.before = { finish = closed.mono + closed.seconds, level = closed.level.name }
  end
  self.judging = true
  if #inputs > 0 or #result.rules > 0 or #result.actions > 0 then self:tell() end
end

--- A trigger has tripped in the kernel, between windows: its rule fires. now: seconds of the engine's clock; slice: how
--- long it looked back.
function Audit:tripped(rule, now, slice, time)
  local inputs = self.inputs
  self.inputs = {}
  self:log({ event = "tripped", rule = rule, now = now, slice = slice, before = self.before,
    inputs = told_inputs(inputs) }, time)
end

--- What has come of the window is told; where nothing has, it needs no line. A log that is full, or lacks lines,
--- begins anew here, where nothing is left to tell.
function Audit:closed(decider, levels, time)
  self.judging = false
  if self.lost > 0 then
    local failed = self.failed
    self.failed = nil -- it has been said
    self:begin(decider, levels, time)
    self.failed = failed
  elseif self.file:full() then
    local ok, message = self.file:rotate()
    if not ok and self.failed then self.failed(message, time) end
    if ok then self:begin(decider, levels, time) end
  end
end

--- Somebody claims a level, or does so no more. What is claimed before the log begins is in its beginning.
function Audit:claimed(who, claim, anew, time)
  if self.n == 0 then return end
  self:log({ event = "claim", who = who, hold = claim.hold, cap = claim.cap, expires = claim.expires, cut = claim.cut,
    why = claim.why, values = claim.values, anew = anew or false }, time)
end

--- Levels were looked at between two windows' ends.
function Audit:reconsidered(now, time) self:log({ event = "reconsidered", now = now }, time) end

--- Any event of the run.
function Audit:event(e)
  if LEFT_OUT[e.event] or self.n == 0 then return end
  -- The last window says until when nothing more has come.
  if e.event == "transition" and self.judging or e.event == "summary" then self:tell() end
  self:write(event.encode(e) .. "\n", e.time)
end

return audit
