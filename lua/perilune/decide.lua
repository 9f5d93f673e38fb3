-- SPDX-License-Identifier: Apache-2.0
--
-- What a closed window means: which rules are pending, firing or cleared, which levels they hold, and what is
-- to be done. Pure: time and counters come with the sample, what is to be done goes out as data.
--
-- A rule is one instance, or with `per` one for every key that gives reason to remember it: a condition that
-- holds, or holds but not yet for long enough. The many keys that give none cost one test each and leave
-- nothing behind.

local evaluate = require "perilune.evaluate"
local formula = require "perilune.formula"
local history = require "perilune.history"
local instances = require "perilune.instances"
local members = require "perilune.members"
local units = require "perilune.units"
local words = require "perilune.words"

local decide = {}
local Decide = {}
Decide.__index = Decide

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

-- Asks a policy's function: its truth, or nil when there is none. One that fails is reported once, and is not called
-- again.
local function call(self, step, node, rule, raw)
  if self.failed[node.fn] then return nil end
  local key = rule.grouping and step.text(rule, raw)
  local value, message, again = self.call(node, step.sample.window, key)
  if value ~= nil then return value end
  self.failed[node.fn] = not again or nil
  local kind = again and "again" or "failed"
  if self.reported[node.fn] ~= kind then
    self.reported[node.fn] = kind
    table.insert(step.result.errors, {
      rule = rule.name, message = message, file = node.file, line = node.line,
      hint = again and "no truth and no act of it in this window; it is called again, and this is not reported again"
        or "it is not called again and counts as false until the policy is loaded anew",
    })
  end
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
  function env.call(_, node) return call(self, step, node, env.rule, env.raw) end
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

local function name_of(rule, instance)
  return instance.key and rule.name .. " " .. instance.key or rule.name
end

local function values_of(condition, row, env)
  local values = {}
  for _, value in ipairs(condition.values) do values[value.text] = value.get(row, env) end
  return values
end

local function act_add(step, rule, instance, set, now)
  if not set:add(instance.key, instance, now) then return end
  table.insert(step.result.actions,
    { act = "add", set = set.name, member = instance.key, rule = rule.name, key = instance.key,
      undo = false })
end

-- What others than we do, or no longer do, for an instance: the act as declared, and why.
local function hand_out(step, rule, instance, what, change, undone)
  table.insert(step.result.actions, {
    act = what.kind, what = what, rule = rule.name, key = instance.key, undo = undone,
    text = what.text or what.kind == "log" and change.reason or nil, reason = change.reason, values = change.values,
  })
end

local function act(self, step, rule, instance, change)
  for _, what in ipairs(rule.decl.act or {}) do
    if what.kind == "add" then
      act_add(step, rule, instance, self.members[what.set], step.env.finish)
    elseif what.kind ~= "call" or call(self, step, what, rule, instance.raw) ~= nil then
      hand_out(step, rule, instance, what, change, false)
    end
  end
end

local function undo(step, rule, instance, change)
  for _, set in ipairs(rule.adds) do
    if set:drop(instance.key, instance) then
      table.insert(step.result.actions,
        { act = "add", set = set.name, member = instance.key, rule = rule.name, key = instance.key,
          undo = true })
    end
  end
  for _, what in ipairs(rule.decl.act or {}) do
    if what.lasts then hand_out(step, rule, instance, what, change, true) end
  end
end

-- Gives an instance its new state, and reports it. change: { instance, state, condition, how, row } or with
-- `why`.
local function apply(self, step, rule, change)
  local instance, before = change.instance, change.instance.state
  local env = step.env
  env.rule, env.raw = rule, instance.raw
  if rule.grouping and not instance.key then instance.key = step.text(rule, instance.raw) end
  instance.state = change.state
  local reason = name_of(rule, instance) .. ": "
    .. (change.text or change.condition.say(change.row, env, change.how)) .. (change.within or "")
  local told = {
    rule = rule.name, key = instance.key, state = change.state, reason = reason, why = change.why,
    values = change.condition and values_of(change.condition, change.row, env) or {},
  }
  table.insert(step.result.rules, told)
  if (before == "firing") ~= (change.state == "firing") and rule.decl.hold then self.dirty = true end
  if change.state == "firing" then
    act(self, step, rule, instance, told)
  elseif change.state == "cleared" then
    if before == "firing" then undo(step, rule, instance, told) end
    if before == "firing" or change.why then instance.since = {} end
    instance.state = nil
    if next(instance.since) == nil then instances.forget(rule, instance) end
  end
end

-- What is cleared comes first, as it makes room in sets; then by key.
local function by_state_and_key(a, b)
  local x, y = a.state == "cleared", b.state == "cleared"
  if x ~= y then return x end
  return a.instance.raw < b.instance.raw
end

local function apply_all(self, step, rule, changes)
  table.sort(changes, by_state_and_key)
  for _, change in ipairs(changes) do apply(self, step, rule, change) end
end

-- Members whose reason is still seen stay; one that had no room, or ran out of time before, is tried again.
local function keep(step, rule, seen)
  if #rule.adds == 0 then return end
  table.sort(seen, function(a, b) return a.raw < b.raw end)
  for _, instance in ipairs(seen) do
    for _, set in ipairs(rule.adds) do
      if not set:renew(instance.key, instance, step.env.finish) then
        act_add(step, rule, instance, set, step.env.finish)
      end
    end
  end
end

local function step_rule(self, step, rule)
  local seen = {}
  local changes = instances.judge(rule, rows_of(step, rule.grouping), step.env, self.most, seen)
  apply_all(self, step, rule, changes)
  keep(step, rule, seen)
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
  apply_all(self, step, rule, changes)
end

local function expire(self, step)
  for _, name in ipairs(self.order) do
    for _, member in ipairs(self.members[name]:expire(step.env.finish)) do
      table.insert(step.result.actions,
        { act = "add", set = name, member = member, undo = true, why = "ttl" })
    end
  end
end

-- Level → who holds it, in the order of rules and keys.
local function holds_of(self)
  local holds = {}
  for _, rule in ipairs(self.rules) do
    local level = rule.decl.hold
    if level then
      local list = holds[level] or {}
      for _, raw in ipairs(words.keys(rule.instances)) do
        local instance = rule.instances[raw]
        if instance.state == "firing" then list[#list + 1] = name_of(rule, instance) end
      end
      if #list > 0 then holds[level] = list end
    end
  end
  return holds
end

local function conclude(self, step)
  if self.dirty then
    self.dirty = false
    self.holds = holds_of(self)
    step.result.holds = self.holds
  end
  return step.result
end

local function rule_named(self, name)
  for _, rule in ipairs(self.rules) do
    if rule.name == name then return rule end
  end
end

local function history_rows(self, step)
  return function(name) return rows_of(step, rule_named(self, name).grouping) end
end

-- Whether a rule fires for a key, or without one for any.
local function is_firing(self, name, key)
  local remembered = rule_named(self, name).instances
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
  expire(self, step)
  self.history:learn(sample, step.env, rows, function(name, key) return is_firing(self, name, key) end)
  return conclude(self, step)
end

-- Windows without packets, of `sample.seconds` in all, in which nothing can be decided (at_rest).
function Decide:skip(sample)
  if #self.history.list == 0 then return end
  local silent = { observed = {} }
  self.history:skip(sample.seconds, sample, {
    seconds = sample.window, start = sample.start, finish = sample.start + sample.seconds, wall = sample.wall,
    totals = self.slots:read(silent),
  }, function(name)
    local grouping = rule_named(self, name).grouping
    return grouping and grouping.zero
  end)
end

-- Whether a rule without `per` is firing.
function Decide:is_firing(name)
  local instance = rule_named(self, name).instances[WHOLE]
  return instance ~= nil and instance.state == "firing"
end

-- The kernel has found the condition of this rule, which is not firing, to hold in a slice between windows. `slice`:
-- seconds, start, finish, and total(probe, field) → what was counted in it, or `recorded` in its place. Returns what
-- step returns.
function Decide:trip(name, slice)
  local rule = rule_named(self, name)
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
  apply(self, step, rule, {
    instance = instance, state = "firing", condition = rule.when, how = "yes", row = ONLY.rows[1], why = "trigger",
    within = " in " .. units.print(slice.seconds, "duration"),
  })
  return conclude(self, step)
end

-- Another declaration takes the place of this one, and only the rules in `kept` (a set of names) go on in it: what has
-- become of the others is over. Returns what step returns, and whether any of them held a level.
function Decide:abandon(kept)
  local step, changes, held = { result = { rules = {}, actions = {}, errors = {} }, env = {} }, {}, false
  for _, rule in ipairs(self.rules) do
    local remembered = not kept[rule.name] and rule.instances or {}
    for _, raw in ipairs(words.keys(remembered)) do
      local instance = remembered[raw]
      if instance.state then
        held = held or instance.state == "firing" and rule.decl.hold ~= nil
        changes[#changes + 1] = { instance = instance, state = "cleared", why = "reload",
          text = "the policy was loaded anew, and this rule is another or gone" }
      end
    end
    apply_all(self, step, rule, changes)
    changes = {}
    if not kept[rule.name] then rule.instances, rule.count = {}, 0 end
  end
  return conclude(self, step), held
end

-- Takes over, from another declaration's, the instances of rules, the members of sets and the series of measures that
-- mean the same (sameness.lua): what fires goes on, with its timers. The other has them no more.
function Decide:inherit(old, same)
  local owners = {}
  for _, rule in ipairs(self.rules) do
    if same.rules[rule.name] then
      local before = rule_named(old, rule.name)
      rule.instances, rule.count, rule.overflow = before.instances, before.count, before.overflow
      before.instances, before.count = {}, 0
      for _, instance in pairs(rule.instances) do owners[instance] = true end
    end
  end
  for name in pairs(same.sets) do self.members[name]:inherit(old.members[name], owners) end
  self.history:inherit(old.history, same)
  self.holds = holds_of(self)
end

-- The end: takes back what lasts of every instance that fires, and those in sets that others may see. Returns a list
-- of actions.
function Decide:release(why)
  local step = { result = { actions = {} } }
  for _, rule in ipairs(self.rules) do
    for _, raw in ipairs(words.keys(rule.instances)) do
      local instance = rule.instances[raw]
      local told = { reason = name_of(rule, instance) .. ": " .. why, values = {} }
      for _, what in ipairs(instance.state == "firing" and rule.decl.act or {}) do
        if what.lasts then hand_out(step, rule, instance, what, told, true) end
      end
    end
  end
  for _, set in ipairs(self.sets_of) do
    for _, member in ipairs(set.export and not set.keep and self.members[set.name]:list() or {}) do
      table.insert(step.result.actions,
        { act = "add", set = set.name, member = member.member, undo = true, why = "exit" })
    end
  end
  return step.result.actions
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
