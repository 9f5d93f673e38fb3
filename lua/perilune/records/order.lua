-- SPDX-License-Identifier: Apache-2.0
--
-- The verbs that order records: top and sort.

local bit = require "bit"
local ffi = require "ffi"
local blame = require "perilune.base.blame"
local list = require "perilune.records.list"
local loops = require "perilune.records.loops"
local record = require "perilune.records.record"
local view = require "perilune.records.view"

local verbs = {}

local indexes = ffi.typeof("uint32_t[?]")
local numbers = ffi.typeof("double[?]")
local pointers = ffi.typeof("const uint64_t *")

-- Puts a row in the place of the worst, which lies at 0; of equal values the later row is worse.
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

-- Makes a heap of the `size` rows with the largest values: first of any rows, then of those that beat the worst.
local function best_rows(inner, run, values, places, size)
  for at = 0, size - 1 do values[at], places[at] = -math.huge, 0xffffffff end -- worse than any row
  local from, missing = 0, size
  while from < inner.count do
    local worst, room = values[0], ROOM
    if missing > 0 then worst, room = 0 / 0, math.min(ROOM, missing) end
    local on, found = run(inner.q, inner.ids, inner.count, from, worst, found_values, found_places, room)
    for m = 0, found - 1 do
      local value = found_values[m]
      if missing > 0 or value > values[0] then sift_down(values, places, size, value, found_places[m]) end
    end
    from, missing = on, missing - found
  end
end

-- The n rows with the largest values, largest first; of equal ones those that come first.
function verbs.top(v, n, name)
  local inner = view.inner(v)
  n = list.how_many(n)
  local field = record.number(inner.class, name)
  local size = math.min(n, inner.count)
  if size == 0 then return view.choose(inner, indexes(1), 0) end
  local values, places = numbers(size), indexes(size)
  local run = view.generate(inner, "top " .. name, function() return loops.top(inner.class, field, inner.ids) end)
  best_rows(inner, run, values, places, size)
  local out = indexes(size)
  for left = size - 1, 0, -1 do -- the worst goes last, then the worst of the others
    local place, value, last = places[0], values[left], places[left]
    out[left] = view.index(inner, place)
    sift_down(values, places, left, value, last)
  end
  return view.choose(inner, out, size)
end

local RAW = { address = true, ipv4 = true, bytes = true }

-- What orders rows by a field: numbers, text, and of addresses and bytes the raw bytes.
local function order_of(v, inner, field)
  if not RAW[field.kind] and field.kind ~= "pointer" then
    local values = v:column(field.name)
    for k, value in ipairs(values) do
      if field.kind == "enum" then values[k] = tostring(value) end
      if value ~= value then values[k] = -math.huge end -- as in top: no number comes last
    end
    return values
  end
  local keys = {}
  for k = 0, inner.count - 1 do
    local at = inner.q + (view.index(inner, k) * inner.class.stride + field.offset)
    keys[k + 1] = RAW[field.kind] and ffi.string(at, field.size) or bit.tohex(ffi.cast(pointers, at)[0])
  end
  return keys
end

-- Rows in order of a field: "ascending" (default) or "descending"; equal ones keep their order.
function verbs.sort(v, name, direction)
  local inner = view.inner(v)
  local field = record.field(inner.class, name)
  if field.list or field.kind == "bool" then
    blame.fail('"%s" is %s and has no order', name, record.describe(field))
  end
  local values, places = order_of(v, inner, field), {}
  for k = 1, inner.count do places[k] = k end
  list.order(places, values, direction)
  local out = indexes(inner.count + 1)
  for k = 1, inner.count do out[k - 1] = view.index(inner, places[k] - 1) end
  return view.choose(inner, out, inner.count)
end

return verbs
