-- SPDX-License-Identifier: Apache-2.0
--
-- From measures and conditions as written to plain data: every probe and field looked up, every unit known
-- and fitting.
--
-- `look(kind, probe, field, at, where)` answers the unit of a field and what else the engine has to know of it
-- (measurable.lua), or fails with a located message.

local measure = require "perilune.policy.measure"
local sandbox = require "perilune.base.sandbox"
local units = require "perilune.base.units"

local resolve = {}

local PER_SECOND = { count = "rate", size = "byterate", duration = "ratio" }

local function leaf(node, look)
  if node.kind == "number" then
    return { kind = "number", value = node.value, unit = node.unit, text = node.text }
  end
  local field, q, where = rawget(node, "field"), rawget(node, "q"), rawget(node, "where")
  local unit, about = look(node.kind, node.probe, field, node.at, where)
  if node.kind == "rate" then unit = PER_SECOND[unit] end
  local made = {
    kind = node.kind, probe = node.probe, field = field, q = q, where = where, unit = unit, text = node.text,
  }
  for key, value in pairs(about or {}) do made[key] = value end
  return made
end

-- What may stand under each measure that looks back.
local LOOKS_BACK = { over = true, ewma = true, baseline = true, spread = true, deviation = true }
local NOT_UNDER = {
  over = { over = true, ewma = true, baseline = true, spread = true, deviation = true },
  ewma = { ewma = true, baseline = true, spread = true, deviation = true },
  baseline = { baseline = true, spread = true, deviation = true },
}

local function check_under(node, kind, part, not_under)
  if not_under[part.kind] then
    sandbox.fail(node.at, ("%s: there is no %s of a measure with %s"):format(node.text, kind, part.kind),
      "leave one of them out")
  end
  for _, key in ipairs { "left", "right", "of" } do
    if part[key] then check_under(node, kind, part[key], not_under) end
  end
end

local function look_back(node, look)
  local of = resolve.measure(node.of, look)
  check_under(node, node.kind, of, NOT_UNDER[node.kind] or NOT_UNDER.baseline)
  return {
    kind = node.kind, of = of, seconds = node.seconds, unit = node.kind == "deviation" and "ratio" or of.unit,
    warmup = rawget(node, "warmup"), hours = rawget(node, "hours"), text = node.text,
  }
end

-- A plain copy of a measure, with its unit.
function resolve.measure(node, look)
  if LOOKS_BACK[node.kind] then return look_back(node, look) end
  if node.kind ~= "op" and node.kind ~= "share" then return leaf(node, look) end
  local left, right = resolve.measure(node.left, look), resolve.measure(node.right, look)
  if node.kind == "share" then
    return { kind = "share", left = left, right = right, unit = "share", text = node.text }
  end
  local unit = measure.combine(node.op, left.unit, right.unit)
  if not unit then
    sandbox.fail(node.at, ("%s: %s is %s, %s is %s; they do not go together"):format(node.text, left.text,
      units.noun(left.unit), right.text, units.noun(right.unit)), "give both the same unit")
  end
  return { kind = "op", op = node.op, left = left, right = right, unit = unit, text = node.text }
end

local function comparable(left, right)
  if left == right then return true end
  local scalar = { count = true, share = true, ratio = true }
  return (left == "ratio" and scalar[right]) or (right == "ratio" and scalar[left]) or false
end

local function comparison(node, look)
  local left, right = resolve.measure(node.measure, look), resolve.measure(node.threshold, look)
  if not comparable(left.unit, right.unit) then
    local remedy = right.kind == "number" and "write it like " .. units.example(left.unit)
      or "compare like with like"
    sandbox.fail(node.at, ("%s is %s and cannot be compared with %s, which is %s"):format(left.text,
      units.noun(left.unit), right.text, units.noun(right.unit)), remedy)
  end
  return { kind = node.kind, measure = left, threshold = right }
end

-- A plain copy of a condition.
function resolve.condition(node, look)
  if node.kind == "above" or node.kind == "below" then return comparison(node, look) end
  if node.kind == "lasting" then
    return { kind = "lasting", cond = resolve.condition(node.cond, look), seconds = node.seconds }
  end
  if node.kind == "function" then
    local at = rawget(node, "at")
    return { kind = "function", fn = node.fn, file = at and at.file or nil, line = at and at.line or nil }
  end
  local made = { kind = node.kind }
  for i, inner in ipairs(node) do made[i] = resolve.condition(inner, look) end
  return made
end

-- Calls visit(measure leaf) for every measure of a plain condition that reads a probe.
function resolve.each_measure(node, visit)
  if node.probe then visit(node) end
  for _, key in ipairs { "measure", "threshold", "left", "right", "cond", "of" } do
    if node[key] then resolve.each_measure(node[key], visit) end
  end
  for _, inner in ipairs(node) do resolve.each_measure(inner, visit) end
end

return resolve
