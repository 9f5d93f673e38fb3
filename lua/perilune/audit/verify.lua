-- SPDX-License-Identifier: Apache-2.0
--
-- Evaluates an audit log again: what it says was read goes through the same code that decides live (decide.lua,
-- levels.lua), and what comes out is held against what the log says came out. So the log explains itself, or
-- something in it is not true.
--
-- Between two lines nothing may have come of the windows that are not logged. Of the last of them the log gives the
-- time: what was read then came to the same results as what was logged before, so with that nothing may change then
-- either.

local audit_condition = require "perilune.audit.condition"
local audit_state = require "perilune.audit.state"
local event_json = require "perilune.event.json"
local json_read = require "perilune.base.json_read"

local audit_verify = {}

local Verifier = {}
Verifier.__index = Verifier

-- What is to come out of the line before, in this order: { event =, and the fields that are compared }.
local COMPARED = {
  rule = { "rule", "key", "state", "reason", "values" },
  action = { "set", "member", "undo", "rule", "key" },
  transition = { "from", "to", "rule", "held_by", "capped_by", "reason", "values" },
}

local ROUNDING = 1e-5 -- seconds: windows are told in whole µs

local function fail(where, message) error({ where = where, message = message }, 0) end

-- Equal, as far as a line can say: numbers have nine digits there.
local function same(a, b)
  if type(a) ~= type(b) then return false end
  if type(a) == "number" then return event_json.number(a) == event_json.number(b) end
  if type(a) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

--- decide, levels: the stages (decide.new, levels.new), given by who may know them.
function audit_verify.new(stages)
  return setmetatable({
    stages = stages, expected = {},
    counts = { judged = 0, rule = 0, action = 0, transition = 0, claim = 0, audit = 0, reload = 0 },
  }, Verifier)
end

-- A declaration for the stages, of what an audit event says.
local function declaration(record)
  local decl = { levels = record.levels, sets = record.sets, rules = {} }
  for i, rule in ipairs(record.rules) do
    local act = {}
    for j, set in ipairs(rule.add) do act[j] = { kind = "add", set = set } end
    decl.rules[i] = {
      name = rule.name, when = audit_condition.node(rule.when), clear = rule.clear and audit_condition.node(rule.clear),
      per = rule.per, probes = rule.probes, hold = rule.hold, act = act,
    }
  end
  return decl
end

local function from_json(values)
  local out = {}
  for slot, value in ipairs(values) do
    if value ~= json_read.null then out[slot] = value end
  end
  return out
end

-- What is remembered of an instance: its inputs, and its key's text.
function Verifier:remember(input, raw)
  local of_rule = self.recorded[input.rule]
  if not of_rule then fail(self.where, ("there is no rule %q"):format(input.rule)) end
  of_rule[raw] = from_json(input.values)
  if input.key then self.keys[raw] = input.key end
  local per = self.per[input.rule]
  if per then self.present[per.probe .. "." .. per.field][raw] = true end
end

-- Where the policy was adopted, a process has been killed, maybe between two lines: nothing follows from those before.
function Verifier:audit(record)
  local before = not record.adopted and self.before_reload
  self.before_reload = nil
  local ok, message = pcall(function()
    local decl = declaration(record)
    if before then self:continue(before, decl, record) end
    self.decide = self.stages.decide(decl, { instances = record.instances })
    self.levels = self.stages.levels(decl.levels)
    self.recorded, self.keys, self.per, self.present, self.probes = {}, {}, {}, {}, {}
    for _, rule in ipairs(record.rules) do
      self.recorded[rule.name], self.per[rule.name] = {}, rule.per
      if rule.per then self.present[rule.per.probe .. "." .. rule.per.field] = {} end
    end
    for _, level in ipairs(record.levels) do
      self.probes[level.name] = {}
      for _, probe in ipairs(level.probes) do self.probes[level.name][probe] = true end
    end
    audit_state.put(self.decide, self.levels, record.state, function(one, raw) self:remember(one, raw) end)
  end)
  if not ok then
    if type(message) == "table" then error(message, 0) end
    fail(record.where, "the policy cannot be made of this line: " .. tostring(message):gsub("^[^:]*:%d+: ", ""))
  end
  self.dry_run, self.last, self.expected = record.dry_run, record.state.finish, {}
  self.over, self.ended = false, nil
end

-- Another declaration takes the place of this one: what does not go on is cleared now, and what does has to be in the
-- state that the audit event of the other begins with.
local function reload(self, record)
  local kept = {}
  for _, what in ipairs(record.kept) do
    local kind, name = what:match "^(%l+) (.*)$"
    if not kind then fail(record.where, ("%q is nothing that is kept"):format(what)) end
    kept[kind] = kept[kind] or {}
    kept[kind][name] = true
  end
  kept.rule, kept.set = kept.rule or {}, kept.set or {}
  self.at = record.at
  local result = self.decide:abandon(kept.rule)
  for _, change in ipairs(result.rules) do self:expect("rule", change) end
  for _, action in ipairs(result.actions) do self:expect("action", action) end
  self.before_reload = { decide = self.decide, levels = self.levels, kept = kept, level = record.level }
end

-- What goes on over a reload is evaluated again as well: rules, sets and the level in force of the other declaration,
-- as they follow from those of this one, are what its audit event says.
function Verifier:continue(before, decl, record)
  local decide, levels = self.stages.decide(decl, { instances = record.instances }), self.stages.levels(decl.levels)
  decide:inherit(before.decide, { rules = before.kept.rule, sets = before.kept.set, probes = {} })
  levels:inherit(before.levels, decide.holds, { "operator" })
  local again, state = audit_state.take(decide, levels), record.state
  for i, one in ipairs(again.instances) do one.values = (state.instances[i] or {}).values end -- of no effect here
  for _, part in ipairs { "instances", "members" } do
    if not same(again[part], state[part]) then
      fail(record.where, ("its %s are not those that the reload has kept"):format(part))
    end
  end
  if not same(again.ladder.current, state.ladder.current) or not same(again.ladder.entered, state.ladder.entered)
    or decl.levels[state.ladder.current].name ~= before.level then
    fail(record.where, "the level in force is not the one that the reload has kept")
  end
end

-- A window as decide.lua wants it, with what is recorded in place of what was read.
function Verifier:sample(level, start, seconds)
  local observed = {}
  for _, probes in pairs(self.probes) do
    for probe in pairs(probes) do observed[probe] = false end
  end
  for probe in pairs(self.probes[level] or fail(self.where, ("there is no level %q"):format(level))) do
    observed[probe] = true
  end
  return {
    start = start, finish = start + seconds, seconds = seconds, level = level, observed = observed,
    recorded = self.recorded,
    total = function() return 0 end, rows = function() return 0 end,
    groups = function(probe, field)
      local rows = {}
      for raw in pairs(self.present[probe .. "." .. field]) do rows[raw] = { n = 1 } end
      return rows
    end,
    text = function(_, _, raw) return self.keys[raw] end,
  }
end

-- Of an instance that the rules have forgotten, nothing is logged as long as its conditions come to nothing: what was
-- read of it before is no longer what is read.
function Verifier:forget()
  for _, rule in ipairs(self.decide.rules) do
    local recorded = self.recorded[rule.name]
    for raw in pairs(recorded) do
      if not rule.instances[raw] then recorded[raw] = nil end
    end
  end
end

-- The window before, of which nothing came: at its end all timers that were to run out by then have.
function Verifier:quiet(before)
  if not before or self.last and before.finish <= self.last then return end
  local sample = self:sample(before.level, before.finish, 1)
  sample.finish = before.finish
  local result = self.decide:step(sample)
  local first = result.rules[1] or result.actions[1]
  if first then
    fail(self.where, ("by now, %s should have been %s: the log does not say so"):format(
      first.rule and first.rule .. (first.key and " " .. first.key or "") or first.set .. " " .. first.member,
      first.state or "changed"))
  end
end

function Verifier:expect(event, values)
  values.event = event
  self.expected[#self.expected + 1] = values
end

-- Windows have one length, and do not overlap.
function Verifier:check_times(record)
  if math.abs(record.start + record.seconds - record.now) > ROUNDING then
    fail(record.where, "the window does not end where its beginning and its length say")
  end
  if self.ended and record.start < self.ended - ROUNDING then
    fail(record.where, "the window begins before one that is told of earlier has ended")
  end
  self.ended = record.now
end

function Verifier:judged(record)
  if self.over and record.decisive then fail(record.where, "the run goes on after the sets were emptied at its end") end
  self.at = record.at
  self:check_times(record)
  for _, input in ipairs(record.inputs) do
    self:remember(input, input.raw and audit_state.raw(input.raw) or "")
  end
  local result = { rules = {}, actions = {}, holds = self.decide.holds }
  if record.decisive and record.seconds > 0 then
    result = self.decide:step(self:sample(record.level, record.start, record.seconds))
    self:forget()
    self.last = record.start + record.seconds
  end
  for _, change in ipairs(result.rules) do self:expect("rule", change) end
  for _, action in ipairs(result.actions) do self:expect("action", action) end
  local changes = self.levels:take()
  if not self.dry_run and record.cut ~= "exit" then
    changes[#changes + 1] = self.levels:judge(record.now, result.holds, result.rules)
  end
  for _, change in ipairs(changes) do self:expect("transition", change) end
end

-- Before the inputs of a window are taken in, the window before it is looked at with those that were in force.
local function judged(self, record)
  self:quiet(record.before)
  self:judged(record)
end

-- A trigger fired a rule between windows.
local function tripped(self, record)
  self:quiet(record.before)
  self.at, self.last = record.at, math.max(self.last or 0, record.now)
  for _, input in ipairs(record.inputs) do self:remember(input, "") end
  if not self.recorded[record.rule] then fail(record.where, ("there is no rule %q"):format(record.rule)) end
  if self.decide:is_firing(record.rule) then fail(record.where, ("rule %s is firing already"):format(record.rule)) end
  local result = self.decide:trip(record.rule, {
    seconds = record.slice, start = record.now - record.slice, finish = record.now, recorded = self.recorded,
    total = function() return 0 end,
  })
  for _, change in ipairs(result.rules) do self:expect("rule", change) end
  for _, action in ipairs(result.actions) do self:expect("action", action) end
  if not self.dry_run then self.levels:trip(record.now, result.holds, result.rules) end
end

local function claim(self, record)
  self.levels:claim(record.who, { hold = record.hold, cap = record.cap, expires = record.expires, cut = record.cut,
    why = record.why, values = record.values }, record.anew)
end

local function reconsidered(self, record)
  if not self.dry_run then self.levels:reconsider(record.now) end
end

local TAKES = { audit = Verifier.audit, judged = judged, tripped = tripped, claim = claim, reconsidered = reconsidered,
  reload = reload }

local function shown(value)
  if type(value) == "table" then
    local parts = {}
    for key, item in pairs(value) do
      parts[#parts + 1] = type(key) == "number" and tostring(item) or ("%s = %s"):format(key, tostring(item))
    end
    table.sort(parts)
    return "{ " .. table.concat(parts, ", ") .. " }"
  end
  return value == nil and "nothing" or ("%q"):format(tostring(value))
end

-- Values that the log has and a measure of the record does not are parts of calculations, which are not recorded.
local function compare_values(self, logged, evaluated)
  for name, value in pairs(evaluated) do
    local given = logged[name]
    if given == json_read.null then given = 0 / 0 end
    if not given or event_json.number(given) ~= event_json.number(value) then
      fail(self.where, ("its %s is %s, and %s when evaluated again"):format(name, tostring(given), tostring(value)))
    end
  end
end

local function describe(e)
  if e.event == "transition" then return ("the transition %s → %s"):format(e.from, e.to) end
  if e.event == "rule" then return ("rule %s %s"):format(e.rule .. (e.key and " " .. e.key or ""), e.state) end
  return ("%s %s %s %s"):format(e.undo and "remove" or "add", e.member, e.undo and "from" or "to", e.set)
end

-- Held against what came out: nothing may be missing, nothing may be there that did not.
function Verifier:compare(record)
  local wanted = table.remove(self.expected, 1)
  if not wanted and record.event == "action" and record.undo and not record.rule then
    self.over = true -- at the end of a run sets are emptied that others may see
    return
  end
  if not wanted then
    fail(record.where, describe(record) .. " does not follow from what the log says before it")
  end
  if wanted.event ~= record.event then
    fail(record.where, ("%s is here, where %s should be"):format(describe(record), describe(wanted)))
  end
  if record.at ~= self.at then fail(record.where, describe(record) .. ": its time is not the window's") end
  for _, field in ipairs(COMPARED[record.event]) do
    if field == "values" then
      compare_values(self, record.values, wanted.values)
    elseif not same(record[field], wanted[field]) then
      fail(record.where, ("%s: its %s is %s, and %s when evaluated again"):format(describe(record), field,
        shown(record[field]), shown(wanted[field])))
    end
  end
end

function Verifier:nothing_missing(where)
  if self.expected[1] then fail(where, describe(self.expected[1]) .. " should be here: the log does not say so") end
end

--- One record (audit/read.lua), in order. Raises { where, message } at the first that is not true.
function Verifier:take(record)
  self.where = record.where
  local take = TAKES[record.event]
  local compared = COMPARED[record.event] and (record.event ~= "action" or record.act == "add")
  if take then
    if record.event ~= "audit" or self.before_reload and not record.adopted then self:nothing_missing(record.where) end
    take(self, record)
  elseif compared then
    self:compare(record)
  elseif record.event == "summary" then
    self:nothing_missing(record.where)
  end
  if self.counts[record.event] and (take or compared) then
    self.counts[record.event] = self.counts[record.event] + 1
  end
end

--- All records of an iterator (audit/read.lua): how many there were of each that was evaluated, { judged =, rule =,
--- action =, transition =, claim =, audit = } | nil, message, whether the log can be read but is not true.
function audit_verify.run(stages, records)
  local self = audit_verify.new(stages)
  while true do
    local record, message = records()
    if message then return nil, message, false end
    if not record then return self.counts end
    local ok, problem = pcall(self.take, self, record)
    if not ok then
      if type(problem) ~= "table" then error(problem, 0) end
      return nil, ("%s: %s"):format(problem.where, problem.message), true
    end
  end
end

return audit_verify
