-- SPDX-License-Identifier: Apache-2.0
--
-- Verbs on records: where, group, top, sort, sum, min, max, mean, count, column, each.
--
--   v:where { dport = 53, "bytes > 1e6" }:top(10, "bytes")             -- views again
--   v:group("src", { bytes = shape.sum "bytes", n = shape.count() })   -- a list of plain rows (list.lua)
--
-- Each verb is a loop generated for the layout and its fields (loops.lua), which LuaJIT compiles: it runs
-- over the flat buffer and makes no object per record. For the engine, which works with raw keys:
-- shape.groups, total, text, raw, top, json.

local ffi = require "ffi"
local expression = require "perilune.expression"
local list = require "perilune.list"
local loops = require "perilune.loops"
local record = require "perilune.record"
local view = require "perilune.view"
local words = require "perilune.words"

local shape = { list = list.new }

local verbs = {}

local indexes = ffi.typeof("uint32_t[?]")
local numbers = ffi.typeof("double[?]")

-- Aggregates for group, also written as text ("sum bytes", "count").
local AGGREGATES = { sum = true, min = true, max = true, mean = true, count = true }

for kind in pairs(AGGREGATES) do
  shape[kind] = function(field) return { kind = kind, field = field } end
end

-- A sum that has reached 2^53 may have been rounded on its way.
local function sum_check(name, total, level)
  if total < record.LARGEST and total > -record.LARGEST then return total end
  error(('the sum of "%s" reaches 2^53, where a number is no longer exact'):format(name), level + 1)
end

-- Generated code has its name from what it does, with which fields, and on all records or a choice of them.
local function generate(inner, what, make)
  local key = ("%s %s"):format(what, inner.ids and "chosen" or "all")
  local run = record.generate(inner.class, key, make)
  return run
end

local function fold(kind, inner, name, level)
  local field = record.number(inner.class, name, level + 1)
  local run = generate(inner, kind .. " " .. name, function() return loops.fold(kind, field, inner.ids) end)
  local value = run(inner.p, inner.ids, inner.count)
  return value
end

-- The sum of a field over all rows.
function shape.total(v, name)
  local inner = view.inner(v, 2)
  return sum_check(name, fold("sum", inner, name, 2), 2)
end

function verbs.sum(v, name)
  local inner = view.inner(v, 2)
  return sum_check(name, fold("sum", inner, name, 2), 2)
end

function verbs.mean(v, name)
  local inner = view.inner(v, 2)
  local total = sum_check(name, fold("sum", inner, name, 2), 2)
  return inner.count > 0 and total / inner.count or nil
end

-- nil when there are no rows.
function verbs.min(v, name)
  local inner = view.inner(v, 2)
  local value = fold("min", inner, name, 2)
  return inner.count > 0 and value or nil
end

function verbs.max(v, name)
  local inner = view.inner(v, 2)
  local value = fold("max", inner, name, 2)
  return inner.count > 0 and value or nil
end

-- Rows grouped by the raw bytes of `name`: { [raw] = { n = rows, <field> = sum, … } }, and how many groups.
function shape.groups(v, name, fields)
  local inner = view.inner(v, 2)
  local class = inner.class
  local field, summed, seen = record.field(class, name, 2), {}, {}
  for _, wanted in ipairs(fields or {}) do
    if wanted == "n" then error('"n" is the number of rows in a group', 2) end
    if not seen[wanted] then summed[#summed + 1] = record.number(class, wanted, 2) end
    seen[wanted] = true
  end
  local what = ("groups %s by %s"):format(table.concat(fields or {}, ","), name)
  local run = generate(inner, what, function() return loops.groups(class, field, summed, inner.ids) end)
  local groups, count = run(inner.p, inner.q, inner.ids, inner.count)
  return groups, count
end

-- Raw bytes of a field as text, and the other way (nil when the text is no such value).
function shape.text(v, name, raw)
  local inner = view.inner(v, 2)
  return (inner.batch:text(record.field(inner.class, name, 2).index, raw))
end

function shape.raw(v, name, text)
  local inner = view.inner(v, 2)
  return (inner.batch:raw(record.field(inner.class, name, 2).index, text))
end

-- What a policy says about an aggregate, as kind and field.
local function aggregate(class, name, said, level)
  local kind, field
  if type(said) == "string" then
    kind, field = said:match("^(%w+)%s*(%S*)$")
  elseif type(said) == "table" then
    kind, field = said.kind or said[1], said.field or said[2]
  end
  if not AGGREGATES[kind] then
    error(('group: "%s" is no aggregate (write sum "bytes", %s)'):format(tostring(name),
      words.list(words.keys(AGGREGATES))), level + 1)
  end
  if kind == "count" then return { name = name, kind = kind } end
  return { name = name, kind = kind, field = record.number(class, field, level + 1) }
end

local function finish_group(inner, keys, aggregates, g)
  local row = {}
  for _, field in ipairs(keys) do row[field.name] = view.value(inner, field, g[1]) end
  for i, a in ipairs(aggregates) do
    local value = g[i + 2]
    if a.kind == "count" then value = g[2] end
    if a.kind == "sum" or a.kind == "mean" then sum_check(a.field.name, value, 4) end
    row[a.name] = a.kind == "mean" and value / g[2] or value
  end
  return row
end

-- v:group("src", { bytes = sum "bytes", n = count() }); several fields as a list. Groups come in the order
-- of their first rows.
function verbs.group(v, by, wanted)
  local inner = view.inner(v, 2)
  local class, keys, aggregates, names = inner.class, {}, {}, {}
  for i, name in ipairs(type(by) == "table" and by or { by }) do
    keys[i] = record.field(class, name, 2)
    names[i] = name
  end
  if #keys == 0 then error("group: by which field?", 2) end
  wanted = wanted or { n = "count" }
  local parts = { "group by ", table.concat(names, ",") }
  for i, name in ipairs(words.keys(wanted)) do
    aggregates[i] = aggregate(class, name, wanted[name], 2)
    local field = aggregates[i].field
    parts[#parts + 1] = (" %s %s"):format(aggregates[i].kind, field and field.name or "")
  end
  local run = generate(inner, table.concat(parts), function()
    return loops.group(class, keys, aggregates, inner.ids)
  end)
  local order = run(inner.p, inner.q, inner.ids, inner.count)
  for i, g in ipairs(order) do order[i] = finish_group(inner, keys, aggregates, g) end
  return list.new(order)
end

local function where_function(inner, fn)
  local out, m = indexes(inner.count), 0
  for k = 0, inner.count - 1 do
    if fn(view.row(inner, k)) then
      out[m] = inner.ids and inner.ids[k] or k
      m = m + 1
    end
  end
  return view.choose(inner, out, m)
end

-- v:where { dport = 53, src = "10.0.0.1" }, v:where "bytes > 1e6 and dport == 53", both in one table; or
-- function(row), which is slower.
function verbs.where(v, condition)
  local inner = view.inner(v, 2)
  if type(condition) == "function" then return where_function(inner, condition) end
  if type(condition) ~= "string" and type(condition) ~= "table" then
    error("where: expected { field = value }, a condition as text or a function, got a " .. type(condition),
      2)
  end
  local compiled, message = expression.compile(inner.class, condition)
  local constants
  if compiled then
    constants, message = expression.constants(compiled, function(field, text)
      return inner.batch:raw(field.index, text)
    end)
  end
  if not constants then
    error(("where%s: %s"):format(type(condition) == "string" and (" %q"):format(condition) or "", message), 2)
  end
  local text = loops.where(compiled, inner.ids)
  local run = record.generate(inner.class, "where " .. text, function() return text end)
  local out = indexes(inner.count)
  local m = run(inner.p, inner.q, inner.ids, inner.count, out, constants)
  return view.choose(inner, out, m)
end

-- The worst of what is kept lies at values[0]; of equal values the later row is worse.
local function sift_down(values, places, size, value, place)
  local at = 0
  while true do
    local child = 2 * at + 1
    if child >= size then break end
    if child + 1 < size and (values[child + 1] < values[child]
      or (values[child + 1] == values[child] and places[child + 1] > places[child])) then
      child = child + 1
    end
    if value < values[child] or (value == values[child] and place > places[child]) then break end
    values[at], places[at] = values[child], places[child]
    at = child
  end
  values[at], places[at] = value, place
end

local ROOM = 1024
local found_values, found_places = numbers(ROOM), indexes(ROOM)

-- The n rows with the largest values, largest first; of equal ones those that come first.
function verbs.top(v, n, name)
  local inner = view.inner(v, 2)
  if type(n) ~= "number" or n ~= n or n < 0 then error("top: how many rows? write top(10, \"bytes\")", 2) end
  local field = record.number(inner.class, name, 2)
  local size = math.min(math.floor(n), inner.count)
  if size == 0 then return view.choose(inner, indexes(1), 0) end
  local values, places = numbers(size), indexes(size)
  for i = 0, size - 1 do values[i], places[i] = -math.huge, 0xffffffff end
  local run = generate(inner, "top " .. name, function() return loops.top(field, inner.ids) end)
  local from = 0
  while from < inner.count do
    local on, found = run(inner.p, inner.ids, inner.count, from, values[0], found_values, found_places, ROOM)
    from = on
    for m = 0, found - 1 do
      local value = found_values[m]
      if value > values[0] then sift_down(values, places, size, value, found_places[m]) end
    end
  end
  local out = indexes(size)
  for left = size - 1, 0, -1 do -- the worst goes last, then the worst of the others
    local place, value, last = places[0], values[left], places[left]
    out[left] = inner.ids and inner.ids[place] or place
    sift_down(values, places, left, value, last)
  end
  return view.choose(inner, out, size)
end

-- All values of a field, in order.
function verbs.column(v, name)
  local inner = view.inner(v, 2)
  local field, column = record.field(inner.class, name, 2), {}
  if not field.numeric then
    for k = 0, inner.count - 1 do
      column[k + 1] = view.value(inner, field, inner.ids and inner.ids[k] or k)
    end
    return column
  end
  local run = generate(inner, "column " .. name, function() return loops.column(field, inner.ids) end)
  run(inner.p, inner.ids, inner.count, column)
  return column
end

-- Values that order a field: numbers, text, and of addresses and bytes the raw bytes.
local function order_of(inner, field)
  if field.kind ~= "address" and field.kind ~= "bytes" then return nil end
  local raws = {}
  for k = 0, inner.count - 1 do
    local i = inner.ids and inner.ids[k] or k
    raws[k + 1] = ffi.string(inner.q + (i * inner.class.stride + field.offset), field.size)
  end
  return raws
end

-- Rows in order of a field: "ascending" (default) or "descending"; equal ones keep their order.
function verbs.sort(v, name, direction)
  local inner = view.inner(v, 2)
  local field = record.field(inner.class, name, 2)
  if field.count > 1 or field.kind == "bool" then
    error(('"%s" is %s and has no order'):format(name, record.describe(field)), 2)
  end
  local values, places = order_of(inner, field) or verbs.column(v, name), {}
  for k = 1, inner.count do
    places[k] = k
    if field.kind == "enum" then values[k] = tostring(values[k]) end
  end
  list.order(places, values, direction, 2)
  local out = indexes(inner.count + 1)
  for k = 1, inner.count do out[k - 1] = inner.ids and inner.ids[places[k] - 1] or places[k] - 1 end
  return view.choose(inner, out, inner.count)
end

-- fn(row, i) for every row.
function verbs.each(v, fn)
  for i, row in v:rows() do fn(row, i) end
end

view.install(verbs)

return shape
