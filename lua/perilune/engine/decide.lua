-- SPDX-License-Identifier: Apache-2.0
--
-- What a closed window means: which rules are pending, firing or cleared, which levels they hold, and what is
-- to be done. Pure: time and counters come with the sample, what is to be done goes out as data.
--
-- A rule is one instance, or with `per` one for every key that gives reason to remember it: a condition that
-- holds, or holds but not yet for long enough. The many keys that give none cost one test each and leave
-- nothing behind.

local acting = require "perilune.engine.decide_acting"
local evaluate = require "perilune.engine.evaluate"
local formula = require "perilune.engine.formula"
local history = require "perilune.engine.history"
local instances = require "perilune.engine.instances"
local members = require "perilune.engine.members"
local succession = require "perilune.engine.decide_succession"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local decide = {}
local Decide = {}
Decide.__index = Decide
for name, method in pairs(succession) do Decide[name] = method end

local MOST_INSTANCES = 10000 -- of one rule
local WHOLE = "" -- the key of the only instance of a rule without `per`

-- The grouping that several rules over the same probe and field share, with the columns that any of them reads.
local function grouping_of(self, per)
  local name = per.probe .. "." .. per.field
  self.groupings[name] = self.groupings[name] or { probe = per.probe, field = per.field, wanted = {} }
  return self.groupings[name]
end

-- Sorts what is read into plain sums and what takes more, and makes the row of a key that has none in this window.
local function finish_grouping(grouping)
  grouping.fields, grouping.columns, grouping.zero = {}, {}, { n = 0 }
  for _, name in ipairs(words.keys(grouping.wanted)) do
    local column = grouping.wanted[name]
    grouping.zero[name] = formula.nothing[column.kind]
    if not column.plain then
      table.insert(grouping.columns, column)
    elseif column.kind == "sum" then
      table.insert(grouping.fields, name)
    end
  end
end

local function compile_rule(self, decl)
  local grouping = decl.per and grouping_of(self, decl.per)
  local context = { per = decl.per, slots = self.slots, columns = grouping and grouping.wanted or {},
    timers = 0, rule = decl.name, history = self.history }
  local when = evaluate.compile(decl.when, context)
  local clear = decl.clear and evaluate.compile(decl.clear, context)
  local adds = {}
  for _, act in ipairs(decl.act or {}) do
    if act.kind == "add" then adds[#adds + 1] = self.members[act.set] end
  end
  return {
    name = decl.name, decl = decl, when = when, clear = clear, grouping = grouping, adds = adds,
    calls = context.calls,
    instances = {}, count = 0, overflow = 0,
  }
end

-- Calls a policy's function right here, without limits.
local function call_here(node, window, key)
  local ok, value = xpcall(function() return node.fn(window, key) end,
    function(problem) return debug.traceback(tostring(problem), 2) end)
  if ok then return value and true or false end
  return nil, value
end

-- decl: what policy.load returns. options: instances, most of one rule; call, how a policy's function is called:
-- call(node, window, key) → truth | nil, why there is none, whether it is worth being asked again in the next window;
-- notice(rule, instance, row, when, clear, env): hears of every instance judged, as instances.judge says, and of those
-- forgotten unseen (without row).
function decide.new(decl, options)
  local self = setmetatable({
    rules = {}, members = {}, order = {}, groupings = {}, slots = formula.slots(), history = history.new(), holds = {},
    reported = {}, failed = {}, sets_of = decl.sets or {},
    most = options and options.instances or MOST_INSTANCES, call = options and options.call or call_here,
    notice = options and options.notice,
  }, Decide)
  for i, set in ipairs(decl.sets or {}) do
    self.members[set.name] = members.new(set)
    for _, member in ipairs(set.members or {}) do self.members[set.name]:hold(member) end
    self.order[i] = set.name
  end
  for i, rule in ipairs(decl.rules or {}) do self.rules[i] = compile_rule(self, rule) end
  for _, grouping in pairs(self.groupings) do finish_grouping(grouping) end
  return self
end

-- What this window's tests share.
local function begin(self, sample)
  local step = { sample = sample, result = { rules = {}, actions = {}, errors = {}, holds = self.holds },
    groups = {} }
  function step.text(rule, raw) return sample.text(rule.grouping.probe, rule.grouping.field, raw) end
  local env = {
    seconds = sample.seconds, start = sample.start, finish = sample.finish, totals = self.slots:read(sample),
    wall = sample.wall or sample.start,
  }
  env.recorded = sample.recorded
  local notice = self.notice
  if notice then
    function env.notice(rule, instance, row, now, over) notice(rule, instance, row, now, over, env) end
  end
  function env.call(_, node) return acting.call(self, step, node, env.rule, env.raw) end
  step.env = env
  return step
end

local ONLY = { by_key = { [WHOLE] = { n = 1 } }, keys = { WHOLE }, rows = { { n = 1 } }, n = 1 }

-- The rows of a rule's probe by key: as a table, and as lists, over which LuaJIT can compile a loop.
local function rows_of(step, grouping)
  if not grouping then return ONLY end
  local known = step.groups[grouping]
  if known then return known end
  local by_key = step.sample.groups(grouping.probe, grouping.field, grouping.fields, grouping.columns)
  local keys, rows, n = {}, {}, 0
  for raw, row in pairs(by_key) do
    n = n + 1
    keys[n], rows[n] = raw, row
  end
  known = { by_key = by_key, keys = keys, rows = rows, n = n, zero = grouping.zero }
  step.groups[grouping] = known
  return known
end

local function step_rule(self, step, rule)
  local seen = {}
  local changes = instances.judge(rule, rows_of(step, rule.grouping), step.env, self.most, seen)
  acting.apply_all(self, step, rule, changes)
  acting.keep(step, rule, seen)
end

-- The probe that a rule needs and that did not run in this window.
local function absent(rule, sample)
  for _, probe in ipairs(rule.decl.probes or {}) do
    if not sample.observed[probe] then return probe end
  end
end

local function clear_unobserved(self, step, rule, probe)
  local changes = {}
  local text = step.sample.shed and step.sample.shed[probe]
    and ("not observed (probe %s is off, for the budget)"):format(probe)
    or ("not observed (probe %s does not run at level %s)"):format(probe, tostring(step.sample.level))
  for _, instance in pairs(rule.instances) do
    if step.env.notice then step.env.notice(rule, instance) end
    if instance.state then
      changes[#changes + 1] = { instance = instance, state = "cleared", text = text, why = "not observed" }
    else
      instances.forget(rule, instance)
    end
  end
  acting.apply_all(self, step, rule, changes)
end

local function history_rows(self, step)
  return function(name) return rows_of(step, acting.rule_named(self, name).grouping) end
end

-- Whether a rule fires for a key, or without one for any.
local function is_firing(self, name, key)
  local remembered = acting.rule_named(self, name).instances
  if key then return remembered[key] ~= nil and remembered[key].state == "firing" end
  for _, instance in pairs(remembered) do
    if instance.state == "firing" then return true end
  end
  return false
end

-- Judges one closed window. A window that is not decisive (cut short by a change of level) leaves everything
-- as it is, but for what is remembered of it. The result's `holds` is the same table until something about it
-- changes.
function Decide:step(sample)
  local decisive = sample.decisive ~= false and sample.seconds > 0
  if not decisive and #self.history.list == 0 then
    return { rules = {}, actions = {}, errors = {}, holds = self.holds }
  end
  local step = begin(self, sample)
  local rows = history_rows(self, step)
  self.history:observe(sample, step.env, rows)
  if not decisive then return step.result end
  for _, rule in ipairs(self.rules) do
    local missing = absent(rule, sample)
    if missing then
      clear_unobserved(self, step, rule, missing)
    else
      step_rule(self, step, rule)
    end
  end
  acting.expire(self, step)
  self.history:learn(sample, step.env, rows, function(name, key) return is_firing(self, name, key) end)
  return acting.conclude(self, step)
end

-- Windows without packets, of `sample.seconds` in all, in which nothing can be decided (at_rest).
function Decide:skip(sample)
  if #self.history.list == 0 then return end
  local silent = { observed = {} }
  self.history:skip(sample.seconds, sample, {
    seconds = sample.window, start = sample.start, finish = sample.start + sample.seconds, wall = sample.wall,
    totals = self.slots:read(silent),
  }, function(name)
    local grouping = acting.rule_named(self, name).grouping
    return grouping and grouping.zero
  end)
end

-- Whether a rule without `per` is firing.
function Decide:is_firing(name)
  local instance = acting.rule_named(self, name).instances[WHOLE]
  return instance ~= nil and instance.state == "firing"
end

-- The kernel has found the condition of this rule, which is not firing, to hold in a slice between windows. `slice`:
-- seconds, start, finish, and total(probe, field) → what was counted in it, or `recorded` in its place. Returns what
-- step returns.
function Decide:trip(name, slice)
  local rule = acting.rule_named(self, name)
  local step = begin(self, {
    seconds = slice.seconds, start = slice.start, finish = slice.finish, total = slice.total,
    observed = setmetatable({}, { __index = function() return true end }), rows = function() return 0 end,
    figure = function() return 0 / 0 end,
    recorded = slice.recorded,
  })
  local instance = rule.instances[WHOLE]
  if not instance then
    instance = { raw = WHOLE, since = {} }
    rule.instances[WHOLE] = instance
    rule.count = rule.count + 1
  end
  if step.env.notice then
    instance.moved = true -- worth noticing in any case
    step.env.notice(rule, instance, ONLY.rows[1], evaluate.YES, false)
  end
  acting.apply(self, step, rule, {
    instance = instance, state = "firing", condition = rule.when, how = "yes", row = ONLY.rows[1], why = "trigger",
    within = " in " .. units.print(slice.seconds, "duration"),
  })
  return acting.conclude(self, step)
end

-- Whether nothing is remembered: a window without packets would change nothing.
function Decide:at_rest()
  if self.history:moving() then return false end
  for _, rule in ipairs(self.rules) do
    if next(rule.instances) ~= nil then return false end
  end
  for _, set in pairs(self.members) do
    if set.count > set.held then return false end
  end
  return true
end

-- Set → list of { member, since, expires }, sorted by member.
function Decide:sets()
  local sets = {}
  for name, set in pairs(self.members) do sets[name] = set:list() end
  return sets
end

-- Whether a policy's own functions take part.
function Decide:has_functions()
  for _, rule in ipairs(self.rules) do
    if rule.calls then return true end
    for _, what in ipairs(rule.decl.act or {}) do
      if what.kind == "call" then return true end
    end
  end
  return false
end

-- What is learnt for good, and back (history.lua). probes: name → text that tells what it is.
function Decide:learnt(probes) return self.history:export(probes) end

function Decide:relearn(data, probes, wall) return self.history:import(data, probes, wall) end

-- How often something had no room: { rules = { name → keys not remembered }, sets = { name → members refused
-- }, history = { series → keys and values without room } }. A key that is refused in ten windows counts ten times.
function Decide:overflow()
  local overflow = { rules = {}, sets = {}, history = self.history:overflow() }
  for _, rule in ipairs(self.rules) do overflow.rules[rule.name] = rule.overflow end
  for name, set in pairs(self.members) do overflow.sets[name] = set.overflow end
  return overflow
end

return decide
