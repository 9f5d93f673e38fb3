-- SPDX-License-Identifier: Apache-2.0
--
-- The figures of one window that measures need beyond plain sums: of all rows of a probe, or for every key.
--
-- A column says which: { kind =, field =, q =, where =, by =, weight =, classes =, name = }, as measurable.lua
-- gives it. Each is a loop or two of the verbs (shape.lua), over the rows that meet its condition.

local entropy = require "perilune.records.entropy"
local formula = require "perilune.engine.formula"
local group = require "perilune.records.group"
local histogram = require "perilune.records.histogram"
local loops = require "perilune.records.loops"
local record = require "perilune.records.record"
local view = require "perilune.records.view"
local ffi = require "ffi"

local figures = {}

local NAN = 0 / 0
local numbers = ffi.typeof("double[?]")

--- The rows that a column is of.
function figures.chosen(v, column)
  return column.where and v:where(column.where) or v
end

--- The sums of a list's elements over all rows: 1 … n, and n.
function figures.counts_of(v, name)
  local inner = view.inner(v)
  local field, elements = record.field(inner.class, name), {}
  for j = 0, field.count - 1 do elements[j + 1] = record.element(field, j) end
  local run, out = view.generate(inner, "sums of " .. name, function()
    return loops.sums(inner.class, elements, inner.ids)
  end), numbers(field.count)
  run(inner.q, inner.ids, inner.count, out)
  local counts = {}
  for j = 1, field.count do counts[j] = out[j - 1] end
  return counts, field.count
end

--- The sums of all amounts of these rows, by name: { field → sum }. One beyond 2^53 is left out.
function figures.sums(v)
  local inner, sums = view.inner(v), {}
  local fields = inner.class.counters
  local run, out = view.generate(inner, "sums", function()
    return loops.sums(inner.class, fields, inner.ids)
  end), numbers(math.max(#fields, 1))
  if pcall(run, inner.q, inner.ids, inner.count, out) then
    for i, field in ipairs(fields) do sums[field.name] = out[i - 1] end
    return sums
  end
  for _, field in ipairs(fields) do
    local ok, sum = pcall(v.sum, v, field.name)
    sums[field.name] = ok and sum or nil
  end
  return sums
end

-- Which parts a key's values make, and what each weighs.
local function parts(column)
  return column.weight and { name = "w", kind = "sum", field = column.weight } or { name = "w", kind = "count" }
end

local WHOLE = {}

function WHOLE.count(v) return v:count() end
function WHOLE.sum(v, column) return v:sum(column.field) end
function WHOLE.min(v, column) return v:min(column.field) or NAN end
function WHOLE.max(v, column) return v:max(column.field) or 0 end
function WHOLE.distinct(v, column) return v:distinct(column.field) end

function WHOLE.quantile(v, column)
  if not column.classes then return v:quantile(column.field, column.q) or 0 end
  local counts, n = figures.counts_of(v, column.field)
  local value = histogram.quantile(counts, n, column.classes.first, column.q)
  return value == value and value or 0
end

function WHOLE.entropy(v, column)
  if not column.by then return v:entropy(column.field) end
  local weights = {}
  group.each(v, { column.by }, { parts(column) }, function(raws, values) weights[raws[1]] = values.w end)
  return entropy.values(weights)
end

--- One number; NaN when there is nothing that it could be of.
function figures.whole(v, column)
  return WHOLE[column.kind](figures.chosen(v, column), column)
end

-- The entropy of a key's field within each key of another.
local function within(v, by, column, into)
  local weights = {}
  group.each(v, { by, column.by }, { parts(column) }, function(raws, values)
    local own = weights[raws[1]] or {}
    weights[raws[1]] = own
    own[raws[2]] = values.w
  end)
  for raw, own in pairs(weights) do into(raw, entropy.values(own)) end
end

--- Calls into(raw key or nil, raw value) for every value that the column's field has, in the rows of every key of
--- `by`, or without it in all.
function figures.values(v, column, by, into)
  local keys = by and { by, column.field } or { column.field }
  group.each(figures.chosen(v, column), keys, {}, function(raws) into(by and raws[1] or nil, raws[#raws]) end)
end

--- Calls into(raw key, value) for every key of the field `by` (or of several, a list) that has rows which meet the
--- column's condition.
function figures.by_key(v, by, column, into)
  local rows, classes = figures.chosen(v, column), column.classes
  if column.by then return within(rows, by, column, into) end
  local wanted = { name = "v", kind = classes and "histogram" or column.kind, field = column.field, q = column.q }
  group.each(rows, { by }, { wanted }, function(raws, values)
    local value = values.v
    if classes then value = histogram.quantile(value, #value, classes.first, column.q) end
    into(raws[1], value == value and value or formula.nothing[column.kind])
  end)
end

return figures
