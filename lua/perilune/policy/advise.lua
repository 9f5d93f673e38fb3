-- SPDX-License-Identifier: Apache-2.0
--
-- What is allowed in a policy but hardly meant: levels that nothing leads to, rules that cannot fire, rules that
-- clear while they still fire. Pure: a declaration in, warnings { file, line, message, hint } out.
--
-- People may pin any level, and conditions may be functions: what cannot be known is not warned of.

local units = require "perilune.base.units"

local advise = {}

local function names_set(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

local function runs(level, probes)
  local there = names_set(level.probes)
  for _, probe in ipairs(probes) do
    if not there[probe] then return false end
  end
  return true
end

-- Levels that rules and schedules can lead to, from the first on: a rule can where all its probes run.
local function reachable(decl)
  local reached = { [decl.levels[1].name] = true }
  for _, schedule in ipairs(decl.schedules or {}) do
    if schedule.hold then reached[schedule.hold] = true end
  end
  local more
  repeat
    more = false
    for _, level in ipairs(decl.levels) do
      for _, rule in ipairs(reached[level.name] and decl.rules or {}) do
        if rule.hold and not reached[rule.hold] and runs(level, rule.probes) then
          reached[rule.hold], more = true, true
        end
      end
    end
  until not more
  return reached
end

local function observed_anywhere(decl, rule, reached)
  for _, level in ipairs(decl.levels) do
    if reached[level.name] and runs(level, rule.probes) then return true end
  end
  return false
end

-- Where a rule's probes run together.
local function homes(decl, rule)
  local list = {}
  for _, level in ipairs(decl.levels) do
    if runs(level, rule.probes) then list[#list + 1] = level.name end
  end
  return list
end

local MEASURED = { rate = true, sum = true, count = true, mean = true, share = true, distinct = true }

-- Why a comparison can never hold; nil when it can, or when that cannot be known.
local function never(node)
  local measure, bound = node.measure, node.threshold
  if bound.kind ~= "number" or not MEASURED[measure.kind] then return nil end
  if node.kind == "below" and bound.value <= 0 then
    return ("%s is never below %s"):format(measure.text, units.print(bound.value, bound.unit))
  elseif node.kind == "above" and measure.kind == "share" and bound.value >= 1 then
    return ("%s is never above %s"):format(measure.text, units.print(bound.value, bound.unit))
  end
end

-- The same of a whole condition.
local function impossible(node)
  if node.kind == "above" or node.kind == "below" then return never(node) end
  if node.kind == "lasting" then return impossible(node.cond) end
  if node.kind == "all" then
    for _, inner in ipairs(node) do
      local why = impossible(inner)
      if why then return why end
    end
  elseif node.kind == "any" then
    local why
    for _, inner in ipairs(node) do
      why = impossible(inner)
      if not why then return nil end
    end
    return why
  end
end

-- Bounds that hold whenever a condition does, by the measure's text: { text = { above =, below =, unit = } }. nil
-- when it is no plain conjunction of comparisons with numbers.
local function bounds(node, into)
  if node.kind == "lasting" then return bounds(node.cond, into) end
  if node.kind == "all" then
    for _, inner in ipairs(node) do
      if not bounds(inner, into) then return nil end
    end
    return into
  end
  if node.kind ~= "above" and node.kind ~= "below" or node.threshold.kind ~= "number" then return nil end
  local text, value = node.measure.text, node.threshold.value
  local one = into[text] or { above = -math.huge, below = math.huge, unit = node.threshold.unit }
  into[text] = one
  if node.kind == "above" then one.above = math.max(one.above, value) else one.below = math.min(one.below, value) end
  return into
end

-- A rule that fires while its clear holds already fires and clears in turn. Only what `clear` says of measures that
-- `when` reads too is known to be so.
local function overlap(rule)
  local fires = rule.clear and bounds(rule.when, {})
  local clears = fires and bounds(rule.clear, {})
  if not clears or next(clears) == nil then return nil end
  local text, low, high, unit
  for measure, clear in pairs(clears) do
    local when = fires[measure]
    if not when then return nil end
    local above, below = math.max(when.above, clear.above), math.min(when.below, clear.below)
    if above >= below then return nil end
    if not text or measure < text then text, low, high, unit = measure, above, below, when.unit end
  end
  local from, to = units.print(low, unit), units.print(high, unit)
  if low == -math.huge then return ("with %s below %s"):format(text, to) end
  if high == math.huge then return ("with %s above %s"):format(text, from) end
  return ("with %s between %s and %s"):format(text, from, to)
end

local function of_rule(decl, rule, reached, say)
  local title = ('rule "%s" '):format(rule.name)
  local why = impossible(rule.when)
  if why then say(rule, title .. "can never fire: " .. why, "change the threshold") end
  if rule.clear then
    why = impossible(rule.clear)
    if why then say(rule, title .. "can never clear: " .. why, "change the threshold") end
  end
  local where = homes(decl, rule)
  if #where == 0 then
    say(rule, title .. ("can never fire: at no level its probes %s run together"):format(
      table.concat(rule.probes, ", ")), "add them to one level")
  elseif not observed_anywhere(decl, rule, reached) then
    say(rule, title .. ("can never fire: its probes run at %s only, to which nothing leads that can happen before")
      :format(table.concat(where, ", ")), "let another rule, of a probe that runs before, hold that level")
  end
  local both = overlap(rule)
  if both then
    say(rule, title .. "would fire and clear in turn: both conditions hold " .. both,
      "leave a gap between when and clear")
  end
end

--- All warnings, in the order of their lines.
function advise.policy(decl)
  local list, reached = {}, reachable(decl)
  local function say(at, message, hint)
    list[#list + 1] = { file = at.file or decl.file, line = at.line, message = message, hint = hint }
  end
  local led = {}
  for _, one in ipairs(decl.rules) do led[one.hold or false] = true end
  for _, one in ipairs(decl.schedules or {}) do led[one.hold or false] = true end
  for i, level in ipairs(decl.levels) do
    if i > 1 and not led[level.name] then
      say(level, ('nothing leads to level "%s": no rule and no schedule holds it'):format(level.name),
        'like hold = "' .. level.name .. '", or leave the level out')
    end
  end
  for _, rule in ipairs(decl.rules) do of_rule(decl, rule, reached, say) end
  for i, warning in ipairs(list) do warning.order = i end
  table.sort(list, function(a, b)
    if a.line ~= b.line then return (a.line or 0) < (b.line or 0) end
    return a.order < b.order
  end)
  return list
end

return advise
