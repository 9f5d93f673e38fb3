-- SPDX-License-Identifier: Apache-2.0
--
-- Verbs on records: where, sum, min, max, mean, rate, distinct, quantile, column, each; of files of their own group,
-- top, sort, join, delta.
--
--   v:where { dport = 53, "bytes > 1e6" }:top(10, "bytes")             -- views again
--   v:group("src", { bytes = shape.sum "bytes", n = shape.count() })   -- a list of plain rows (list.lua)
--
-- Each verb is a loop generated for the layout and its fields (loops.lua), which LuaJIT compiles: it runs over the
-- flat buffer and makes no object per record. For the engine, which works with raw keys: shape.groups, total, text,
-- raw.

local ffi = require "ffi"
local aggregate = require "perilune.aggregate"
local blame = require "perilune.blame"
local expression = require "perilune.expression"
local keyed = require "perilune.loops_keyed"
local list = require "perilune.list"
local loops = require "perilune.loops"
local quantile = require "perilune.quantile"
local record = require "perilune.record"
local value = require "perilune.value"
local view = require "perilune.view"

local shape = { list = list.new }

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

-- The value that a share q of the rows does not exceed (quantile.lua): v:quantile("bytes", 0.99) or "99%". nil without
-- rows.
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
  local field = shape.comparable(inner.class, name)
  local run = view.generate(inner, "distinct " .. name, function()
    return loops.distinct(inner.class, field, inner.ids)
  end)
  return (run(inner.q, inner.ids, inner.count))
end

-- The field of this name, whose raw bytes say whether two are equal.
function shape.comparable(class, name)
  return keyed.comparable(record.field(class, name))
end

-- Rows grouped by the raw bytes of `name`, or of several fields (a list) one after the other:
-- { [raw] = { n = rows, <field> = sum, … } }, and how many groups.
function shape.groups(v, name, fields)
  local inner = view.inner(v)
  local class, names = inner.class, type(name) == "table" and name or { name }
  local keys, summed, seen = {}, {}, {}
  for i, key in ipairs(names) do keys[i] = shape.comparable(class, key) end
  for _, wanted in ipairs(fields or {}) do
    if wanted == "n" then blame.fail '"n" is the number of rows in a group' end
    if not seen[wanted] then summed[#summed + 1] = record.number(class, wanted) end
    seen[wanted] = true
  end
  local what = ("groups %s by %s"):format(table.concat(fields or {}, ","), table.concat(names, ","))
  local run = view.generate(inner, what, function() return keyed.groups(class, keys, summed, inner.ids) end)
  local groups, count = run(inner.q, inner.ids, inner.count)
  return groups, count
end

-- Raw bytes of a field as text, and the other way (nil when the text is no such value). Raw text has no NULs at its
-- end here.
function shape.text(v, name, raw)
  local inner = view.inner(v)
  local field = record.field(inner.class, name)
  if field.kind == "text" then raw = raw .. ("\0"):rep(field.size * field.count - #raw) end
  return (inner.batch:text(field.index, raw))
end

-- The texts of several fields, none of them text, from their raw bytes one after the other.
function shape.texts(v, names, raw)
  local class, texts, from = view.inner(v).class, {}, 1
  for i, name in ipairs(names) do
    local field = record.field(class, name)
    local size = field.size * field.count
    texts[i] = shape.text(v, name, raw:sub(from, from + size - 1))
    from = from + size
  end
  return texts
end

function shape.raw(v, name, text)
  local inner = view.inner(v)
  local field = record.field(inner.class, name)
  local raw = value.raw(inner, field, text)
  if raw and field.kind == "text" then raw = raw:match "^%Z*" end
  return raw
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
view.install(require "perilune.group")
view.install(require "perilune.order")
local relate = require "perilune.relate"
view.install(relate.views)
list.install(relate.lists)
list.install(require "perilune.list_where")
list.install(require "perilune.list_group")

return shape
