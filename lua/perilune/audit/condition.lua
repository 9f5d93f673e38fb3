-- SPDX-License-Identifier: Apache-2.0
--
-- A rule's conditions in an audit log: as text for people, and as data from which they can be evaluated again on
-- what the log says of their inputs.
--
-- An input is what a test reads: each side of a comparison that is not a number, and what a function said. They are
-- numbered in the order in which evaluate.lua compiles them, first those of `when`, then those of `clear`: their
-- slots.

local units = require "perilune.base.units"

local audit_condition = {}

local function side(node, slots)
  if node.kind == "number" then return { value = node.value, unit = node.unit, text = node.text } end
  slots.n = slots.n + 1
  return { slot = slots.n, unit = node.unit, text = node.text }
end

local describe = {}

local function comparison(node, slots)
  local measure = side(node.measure, slots)
  return { kind = node.kind, measure = measure, threshold = side(node.threshold, slots) }
end

describe.above, describe.below = comparison, comparison

function describe.lasting(node, slots)
  return { kind = "lasting", seconds = node.seconds, condition = audit_condition.data(node.cond, slots) }
end

describe["function"] = function(node, slots)
  slots.n = slots.n + 1
  return { kind = "function", slot = slots.n,
    text = node.line and ("function of line %d"):format(node.line) or "function" }
end

local function several(node, slots)
  local list = {}
  for i, inner in ipairs(node) do list[i] = audit_condition.data(inner, slots) end
  return { kind = node.kind, list = list }
end

describe.all, describe.any = several, several

--- A condition of a declaration as data. slots: { n = how many there are before }, which counts on.
function audit_condition.data(node, slots)
  return describe[node.kind](node, slots)
end

local restore = {}

local function restored_side(data)
  if data.slot then return { kind = "recorded", slot = data.slot, unit = data.unit, text = data.text } end
  return { kind = "number", value = data.value, unit = data.unit, text = data.text }
end

local function restored_comparison(data)
  return { kind = data.kind, measure = restored_side(data.measure), threshold = restored_side(data.threshold) }
end

restore.above, restore.below = restored_comparison, restored_comparison

function restore.lasting(data)
  return { kind = "lasting", seconds = data.seconds, cond = audit_condition.node(data.condition) }
end

restore["function"] = function(data) return { kind = "recorded", slot = data.slot, text = data.text } end

local function restored_list(data)
  local made = { kind = data.kind }
  for i, inner in ipairs(data.list) do made[i] = audit_condition.node(inner) end
  return made
end

restore.all, restore.any = restored_list, restored_list

--- The other way round: a condition for evaluate.lua that reads what is recorded. Raises an error for what is none.
function audit_condition.node(data)
  local make = type(data) == "table" and restore[data.kind]
  if not make then error("not a condition", 0) end
  return make(data)
end

local say = {}

local function said_comparison(data)
  local bound = data.threshold
  return ("%s %s %s"):format(data.measure.text, data.kind,
    bound.value and units.print(bound.value, bound.unit) or bound.text)
end

say.above, say.below = said_comparison, said_comparison

function say.lasting(data)
  return ("%s for %s"):format(audit_condition.text(data.condition), units.print(data.seconds, "duration"))
end

say["function"] = function(data) return data.text end

local function said_list(data)
  local parts = {}
  for i, inner in ipairs(data.list) do
    local text = audit_condition.text(inner)
    parts[i] = inner.list and #inner.list > 1 and inner.kind ~= data.kind and "(" .. text .. ")" or text
  end
  return table.concat(parts, data.kind == "all" and " and " or " or ")
end

say.all, say.any = said_list, said_list

--- A condition's data in words: "rate to.syn above 500/s and share to.syn/to.packets above 60 % for 10s".
function audit_condition.text(data) return say[data.kind](data) end

return audit_condition
