-- SPDX-License-Identifier: Apache-2.0
--
-- Verbs on records: where, sum, min, max, mean, rate, distinct, quantile, entropy, column, each; of files of their
-- own group, top, sort, join, delta.
--
--   v:where { dport = 53, "bytes > 1e6" }:top(10, "bytes")             -- views again
--   v:group("src", { bytes = shape.sum "bytes", n = shape.count() })   -- a list of plain rows (list.lua)
--
-- Each verb is a loop generated for the layout and its fields (loops.lua), which LuaJIT compiles: it runs over the
-- flat buffer and makes no object per record. For the engine: shape.total, and what raw.lua has for raw keys.

local ffi = require "ffi"
local aggregate = require "perilune.records.aggregate"
local entropy = require "perilune.records.entropy"
local expression = require "perilune.records.expression"
local list = require "perilune.records.list"
local loops = require "perilune.records.loops"
local quantile = require "perilune.records.quantile"
local raw = require "perilune.records.raw"
local record = require "perilune.records.record"
local value = require "perilune.records.value"
local view = require "perilune.records.view"

local shape = { list = list.new }

for name, fn in pairs(raw) do shape[name] = fn end
for kind, word in pairs(aggregate.words) do shape[kind] = word end

local verbs = {}

local indexes = ffi.typeof("uint32_t[?]")
local numbers = ffi.typeof("double[?]")

local function fold(kind, inner, name)
  local field = record.number(inner.class, name)
  local run = view.generate(inner, kind .. " " .. name, function()
    return loops.fold(inner.class, kind, field, inner.ids)
  end)
  local result, magnitude = run(inner.q, inner.ids, inner.count)
  if kind == "sum" and field.kind ~= "float" then aggregate.exact(name, magnitude) end
  return result
end

-- The sum of a field over all rows.
function shape.total(v, name)
  return (fold("sum", view.inner(v), name))
end

verbs.sum = shape.total

-- The sum a second of the window.
function verbs.rate(v, name)
  local inner = view.inner(v)
  return (aggregate.rate(fold("sum", inner, name), inner.owner.seconds))
end

-- These are nil when there are no rows. Floats that are no number count for neither min nor max.
function verbs.mean(v, name)
  local inner = view.inner(v)
  local total = fold("sum", inner, name)
  return inner.count > 0 and total / inner.count or nil
end

function verbs.min(v, name)
  local inner = view.inner(v)
  local least = fold("min", inner, name)
  return inner.count > 0 and least or nil
end

function verbs.max(v, name)
  local inner = view.inner(v)
  local most = fold("max", inner, name)
  return inner.count > 0 and most or nil
end

-- The value that a share q of the rows does not exceed (quantile.lua): v:quantile("bytes", 0.99) or "99%". nil
-- without rows.
function verbs.quantile(v, name, q)
  local inner = view.inner(v)
  local field, share = record.number(inner.class, name), quantile.share(q)
  local values = numbers(inner.count + 1)
  local run = view.generate(inner, "quantile " .. name, function()
    return loops.numbers(inner.class, field, inner.ids)
  end)
  local n = run(inner.q, inner.ids, inner.count, values)
  if n == 0 then return nil end
  return (quantile.select(values, 0, n, share))
end

-- How many different values a field has.
function verbs.distinct(v, name)
  local inner = view.inner(v)
  local field = raw.comparable(inner.class, name)
  local run = view.generate(inner, "distinct " .. name, function()
    return loops.distinct(inner.class, field, inner.ids)
  end)
  return (run(inner.q, inner.ids, inner.count))
end

-- How evenly a field is spread over the rows, from 0 to 1 (entropy.lua). NaN when it is 0 in all of them.
function verbs.entropy(v, name)
  local inner = view.inner(v)
  local field = record.number(inner.class, name)
  local run = view.generate(inner, "entropy " .. name, function()
    return loops.entropy(inner.class, field, inner.ids)
  end)
  return (entropy.of(run(inner.q, inner.ids, inner.count)))
end

local function where_function(inner, fn)
  local out, m = indexes(inner.count + 1), 0
  for k = 0, inner.count - 1 do
    if fn(view.row(inner, k)) then
      out[m] = view.index(inner, k)
      m = m + 1
    end
  end
  return view.choose(inner, out, m)
end

-- v:where { dport = 53, src = "10.0.0.1" }, v:where "bytes > 1e6 and dport == 53", both in one table; or
-- function(row), which is slower.
function verbs.where(v, condition)
  local inner = view.inner(v)
  if type(condition) == "function" then return where_function(inner, condition) end
  local compiled, constants = expression.prepare(inner.class, condition, function(field, text)
    return value.raw(inner, field, text)
  end)
  local text = loops.where(inner.class, compiled, inner.ids)
  local run = record.generate(inner.class, "where " .. text, function() return text end)
  local out = indexes(inner.count + 1)
  local m = run(inner.q, inner.ids, inner.count, out, constants)
  return view.choose(inner, out, m)
end

-- All values of a field, in order.
function verbs.column(v, name)
  local inner = view.inner(v)
  local field, column = record.field(inner.class, name), {}
  if not field.numeric then
    for k = 0, inner.count - 1 do column[k + 1] = value.get(inner, field, view.index(inner, k)) end
    return column
  end
  local run = view.generate(inner, "column " .. name, function()
    return loops.column(inner.class, field, inner.ids)
  end)
  run(inner.q, inner.ids, inner.count, column)
  return column
end

-- fn(row, i) for every row.
function verbs.each(v, fn)
  for i, row in v:rows() do fn(row, i) end
end

view.install(verbs)
view.install(require("perilune.records.group").verbs)
view.install(require "perilune.records.order")
local relate = require "perilune.records.relate"
view.install(relate.views)
list.install(relate.lists)
list.install(require "perilune.records.list_where")
list.install(require "perilune.records.list_group")

return shape
