-- SPDX-License-Identifier: Apache-2.0
--
-- The verbs that bring two sets of records together: join and delta. Both give plain rows (list.lua).
--
--   v:join(other, "src", { "syn", replies = "packets" })   v:delta(kept, "packets", "bytes")
--
-- Two views are matched by raw bytes, in loops over their buffers; where one side is a list of plain rows (of copy()
-- or group()), list_relate.lua matches values.
--
-- join: a row for each pair of rows with equal key fields: those of `v` in order, each with its matches in order. Of
-- `other` come its fields but the keys, or those in the list; one whose name `v` has too is called other_NAME, unless
-- the list names it: { replies = "packets" }. The keys may have two names: { src = "dst" } is v's src and other's dst.
--
-- delta: for counters that only grow. A row for each row of `v`: its key and, of each counter, how much it has grown
-- since `earlier`, whose rows are matched by key. A key that is new counts from 0. So does a counter that is smaller
-- than before, since its map must have been emptied, and the row has reset = true. Signed and floating fields are
-- gauges, whose differences may be negative. Without names, all numbers outside the key are compared but times,
-- protocols and interfaces. What is only in `earlier` gives no row.

local ffi = require "ffi"
local blame = require "perilune.base.blame"
local keyed = require "perilune.records.loops_keyed"
local list = require "perilune.records.list"
local list_relate = require "perilune.records.list_relate"
local record = require "perilune.records.record"
local value = require "perilune.records.value"
local view = require "perilune.records.view"

local verbs, list_verbs = {}, {} -- of views, of lists

local indexes = ffi.typeof("uint32_t[?]")
local numbers = ffi.typeof("double[?]")

local function plain(rows) return view.is(rows) and rows:copy() or rows end

-- Where the rows of `other` with the keys of each row of `inner` are: match[place] is the place + 1 of the first, and
-- after[its place] that of the next.
local function match_keys(inner, fields, other, other_fields)
  local what, other_what = {}, {}
  for i, field in ipairs(fields) do what[i], other_what[i] = field.name, other_fields[i].name end
  local build = view.generate(other, "index " .. table.concat(other_what, ","), function()
    return keyed.index(other.class, other_fields, other.ids)
  end)
  local find = view.generate(inner, "match " .. table.concat(what, ","), function()
    return keyed.match(inner.class, fields, inner.ids)
  end)
  local after, match = indexes(other.count + 1), indexes(inner.count + 1)
  find(inner.q, inner.ids, inner.count, build(other.q, other.ids, other.count, after), match)
  return match, after
end

local function same_kind(a, b)
  return a.kind == b.kind and a.size == b.size and a.count == b.count and a.bit == b.bit and a.bits == b.bits
    and a.signed == b.signed
end

local function key_fields(class, names)
  local fields = {}
  for i, name in ipairs(names) do fields[i] = keyed.comparable(record.field(class, name)) end
  return fields
end

local function join_views(inner, other, keys, columns)
  local left, right = key_fields(inner.class, keys.left), key_fields(other.class, keys.right)
  for i, field in ipairs(left) do
    if not same_kind(field, right[i]) then
      blame.fail('join: "%s" and "%s" are not stored alike (%s and %s, %d and %d bytes)', field.name, right[i].name,
        record.describe(field), record.describe(right[i]), field.size, right[i].size)
    end
  end
  for _, column in ipairs(columns) do column.field = record.field(other.class, column.from) end
  local match, after = match_keys(inner, left, other, right)
  local rows = {}
  for k = 0, inner.count - 1 do
    local m = match[k]
    while m ~= 0 do
      list_relate.check_pairs(#rows)
      local row = {}
      for _, field in ipairs(inner.class.fields) do row[field.name] = value.get(inner, field, view.index(inner, k)) end
      for _, column in ipairs(columns) do
        row[column.name] = value.get(other, column.field, view.index(other, m - 1))
      end
      rows[#rows + 1] = row
      m = after[m - 1]
    end
  end
  return rows
end

function verbs.join(v, other, by, wanted)
  local inner = view.inner(v)
  if not view.is(other) then return list_relate.join(v:copy(), other, by, wanted) end
  local there = view.inner(other)
  local keys = list_relate.keys_of(by)
  local columns = list_relate.columns(inner.class.names, there.class.names, keys, wanted)
  local about = { keys = keys.left, enums = inner.class.enums, seconds = inner.owner.seconds }
  return list.new(join_views(inner, there, keys, columns), about)
end

-- The fields that delta is of, as named or all.
local function delta_fields(class, names)
  local fields = {}
  for i, name in ipairs(names) do fields[i] = record.number(class, name) end
  return #names > 0 and fields or class.counters
end

local function delta_views(inner, earlier, fields)
  local match, after = match_keys(inner, inner.class.keys, earlier, inner.class.keys)
  for m = 0, earlier.count - 1 do
    if after[m] ~= 0 then blame.fail "delta: two earlier rows have the same key" end
  end
  local back, results, rows = indexes(inner.count + 1), {}, {}
  for i, field in ipairs(fields) do
    results[i] = numbers(inner.count + 1)
    local what = ("delta %s %s"):format(field.name, earlier.ids and "to chosen" or "to all")
    local run = view.generate(inner, what, function()
      return keyed.delta(inner.class, field, inner.ids, earlier.ids)
    end)
    run(inner.q, inner.ids, inner.count, earlier.q, earlier.ids, match, results[i], back)
  end
  for k = 0, inner.count - 1 do
    local row = { reset = back[k] ~= 0 }
    for _, field in ipairs(inner.class.keys) do row[field.name] = value.get(inner, field, view.index(inner, k)) end
    for i, field in ipairs(fields) do row[field.name] = results[i][k] end
    rows[k + 1] = row
  end
  return rows
end

-- The rows of a view with only these fields.
local function pick(v, inner, fields)
  local rows, columns = {}, {}
  for _, field in ipairs(fields) do columns[field.name] = v:column(field.name) end
  for k = 1, inner.count do
    local row = {}
    for name, column in pairs(columns) do row[name] = column[k] end
    rows[k] = row
  end
  return list.new(rows, view.about(inner))
end

function verbs.delta(v, earlier, ...)
  local inner = view.inner(v)
  local class = inner.class
  if #class.keys == 0 then
    blame.fail 'delta: these records have no key to match by (group them first, as in v:group("src", …):delta(…))'
  end
  local fields = delta_fields(class, list_relate.names(...))
  local there = view.is(earlier) and view.inner(earlier) or nil
  if there and there.class == class then
    for _, field in ipairs(class.keys) do list_relate.check_mark(keyed.comparable(field).name) end
    for _, field in ipairs(fields) do list_relate.check_mark(field.name) end
    return list.new(delta_views(inner, there, fields), view.about(inner))
  end
  local names, all = {}, { unpack(class.keys) }
  for i, field in ipairs(fields) do names[i], all[#all + 1] = field.name, field end
  return list_relate.delta(pick(v, inner, all), plain(earlier), names)
end

function list_verbs.join(rows, other, by, wanted)
  return list_relate.join(rows, plain(other), by, wanted)
end

function list_verbs.delta(rows, earlier, ...)
  return list_relate.delta(rows, plain(earlier), list_relate.names(...))
end

return { views = verbs, lists = list_verbs }
