-- SPDX-License-Identifier: Apache-2.0
--
-- Measures as data, made ready to be asked thousands of times a window: each node becomes a closure (row, env) →
-- number, built once.
--
-- What it reads are columns: { name =, kind =, field =, where =, … } of a probe. For the probe of the rule's own
-- key they are fields of `row`, by name; for others, or without a key, env.totals[slot].
--
-- NaN stands for what is not known (the least of no rows): it makes every comparison false.

local formula = {}

local NAN = 0 / 0

-- What there is without rows, by the kind of column.
local NOTHING = { count = 0, sum = 0, distinct = 0, max = 0, quantile = 0, min = NAN, entropy = NAN }
formula.nothing = NOTHING

-- Plain sums and the number of rows have short names, since most rows have nothing else.
local function name_of(column)
  if not column.where then
    if column.kind == "sum" then return column.field end
    if column.kind == "count" then return "n" end
  end
  return ("%s %s %s %s"):format(column.kind, column.field or "", column.q or "", column.where or "")
end

-- The column that a measure reads; `kind` when it is another than the measure's own.
local function column_of(node, kind)
  local column = {
    kind = kind or node.kind, field = kind ~= "count" and node.field or nil, where = node.where,
    q = node.q, by = node.by, weight = node.weight, classes = node.classes,
  }
  column.name = name_of(column)
  column.plain = not node.where and (column.kind == "sum" or column.kind == "count") -- read with all the others
  return column
end
formula.column_of = column_of

-- Totals of probes other than the rule's own: one slot each, filled once a window.
local Slots = {}
Slots.__index = Slots

function formula.slots()
  return setmetatable({ list = {}, index = {} }, Slots)
end

function Slots:of(probe, column)
  local name = probe .. "." .. column.name
  if not self.index[name] then
    self.list[#self.list + 1] = { probe = probe, column = column }
    self.index[name] = #self.list
  end
  return self.index[name]
end

local function read_slot(slot, sample)
  local column = slot.column
  if not sample.observed[slot.probe] then return NOTHING[column.kind] end
  if not column.plain then return sample.figure(slot.probe, column) end
  if column.kind == "count" then return sample.rows(slot.probe) end
  return sample.total(slot.probe, column.field)
end

-- Reads all slots whose probe ran in this window.
function Slots:read(sample)
  local totals = {}
  for i, slot in ipairs(self.list) do totals[i] = read_slot(slot, sample) end
  return totals
end

-- What reads a column: of the key's own row, or of all rows.
local function reader(probe, column, context)
  local per = context.per
  if per and per.probe == probe then
    local name = column.name
    context.columns[name] = column
    return function(row) return row[name] end
  end
  local slot = context.slots:of(probe, column)
  return function(_, env) return env.totals[slot] end
end

local function divide(a, b)
  return b == 0 and 0 or a / b
end

local compile
local MEASURES = {}

function MEASURES.number(node)
  local value = node.value
  return function() return value end
end

-- Figures that are one column, some of them in another unit than the records have.
local function figure(node, context)
  local read, scale = reader(node.probe, column_of(node), context), node.scale
  if not scale then return read end
  return function(row, env) return read(row, env) * scale end
end

for kind in pairs(NOTHING) do MEASURES[kind] = figure end

function MEASURES.rate(node, context)
  local sum, scale = reader(node.probe, column_of(node, "sum"), context), node.scale or 1
  return function(row, env) return sum(row, env) * scale / env.seconds end
end

function MEASURES.mean(node, context)
  local sum = reader(node.probe, column_of(node, "sum"), context)
  local rows, scale = reader(node.probe, column_of(node, "count"), context), node.scale or 1
  return function(row, env) return divide(sum(row, env) * scale, rows(row, env)) end
end

function MEASURES.share(node, context)
  local left, right = compile(node.left, context), compile(node.right, context)
  return function(row, env) return divide(left(row, env), right(row, env)) end
end

function MEASURES.op(node, context)
  local left, right, op = compile(node.left, context), compile(node.right, context), node.op
  if op == "+" then return function(row, env) return left(row, env) + right(row, env) end end
  if op == "-" then return function(row, env) return left(row, env) - right(row, env) end end
  if op == "*" then return function(row, env) return left(row, env) * right(row, env) end end
  return function(row, env) return divide(left(row, env), right(row, env)) end
end

function compile(node, context)
  return MEASURES[node.kind](node, context)
end

require "perilune.engine.formula_history"(MEASURES, { compile = compile, reader = reader, column_of = column_of })

--- `context`: per ({ probe, field } or nil), slots, columns (receives those of the per-probe that are read, by name);
--- for measures that look back also rule (its name) and history.
formula.compile = compile

return formula
