-- SPDX-License-Identifier: Apache-2.0
--
-- The verb group: rows of equal fields become one plain row with aggregates (aggregate.lua).
--
--   v:group("src", { bytes = sum "bytes", n = count(), ports = distinct "dport" })
--   v:group({ "src", "dport" }, { p99 = quantile("bytes", 0.99) })
--
-- Groups come in the order of their first rows.

local ffi = require "ffi"
local aggregate = require "perilune.aggregate"
local blame = require "perilune.blame"
local keyed = require "perilune.loops_keyed"
local list = require "perilune.list"
local quantile = require "perilune.quantile"
local record = require "perilune.record"
local value = require "perilune.value"
local view = require "perilune.view"

local indexes = ffi.typeof("uint32_t[?]")
local numbers = ffi.typeof("double[?]")

local MOST = 60 -- values a group: each is a local of the generated loop
local FIRST_SLOT = 4 -- of a group's table: before it first record, rows, number of the group

local SUMS = { sum = true, mean = true, rate = true }

-- What the loop keeps for an aggregate: sets a.at, where its value will be, and a.magnitude, where its sum's.
local function add_slots(slots, a, at)
  local field = a.of
  local function slot(step, size)
    slots[#slots + 1] = { step = step, field = field, at = at }
    at = at + size
    return at - size
  end
  if SUMS[a.kind] then
    a.at = slot("sum", 1)
    a.magnitude = field.kind ~= "float" and (field.signed and slot("magnitude", 1) or a.at) or nil
  elseif a.kind == "min" or a.kind == "max" then
    a.at = slot(field.kind == "float" and "float " .. a.kind or a.kind, 1)
  elseif a.kind == "distinct" then
    a.at = slot("distinct", 2) + 1
  end
  return at
end

local function plan(class, aggregates)
  local slots, at, parts, numbered = {}, FIRST_SLOT, {}, false
  for i, a in ipairs(aggregates) do
    if a.kind == "distinct" then
      a.of = keyed.comparable(record.field(class, a.field))
    elseif a.kind ~= "count" then
      a.of = record.number(class, a.field)
    end
    at = add_slots(slots, a, at)
    numbered = numbered or a.kind == "quantile"
    parts[i] = ("%s %s"):format(a.kind, a.field or "")
  end
  if #slots > MOST then blame.fail("group: more than %d values for each group", MOST) end
  return slots, table.concat(parts, ","), numbered
end

-- A list with the quantile of each group, from the groups' numbers of all places.
local function quantiles(inner, a, order, group_of)
  local starts, at, values, from = {}, indexes(#order + 1), numbers(inner.count + 1), 0
  for g = 1, #order do
    starts[g], at[g] = from, from
    from = from + order[g][2]
  end
  local run = view.generate(inner, "scatter " .. a.field, function()
    return keyed.scatter(inner.class, a.of, inner.ids)
  end)
  run(inner.q, inner.ids, inner.count, group_of, at, values)
  local result = {}
  for g = 1, #order do
    local n = at[g] - starts[g]
    result[g] = n > 0 and quantile.select(values, starts[g], n, a.q) or 0 / 0
  end
  return result
end

local function result_of(a, g, seconds)
  if a.kind == "count" then return g[2] end
  if a.kind == "quantile" then return a.results[g[3]] end
  local result = g[a.at]
  if a.magnitude then aggregate.exact(a.field, g[a.magnitude]) end
  if a.kind == "mean" then return result / g[2] end
  if a.kind == "rate" then return aggregate.rate(result, seconds) end
  return result
end

local function finish(inner, keys, aggregates, g)
  local row = {}
  for _, field in ipairs(keys) do row[field.name] = value.get(inner, field, g[1]) end
  for _, a in ipairs(aggregates) do row[a.name] = result_of(a, g, inner.owner.seconds) end
  return row
end

local function group(v, by, wanted)
  local inner = view.inner(v)
  local class, keys = inner.class, {}
  local names, aggregates = aggregate.parse(by, wanted)
  for i, name in ipairs(names) do keys[i] = keyed.comparable(record.field(class, name)) end
  local slots, what, numbered = plan(class, aggregates)
  local run = view.generate(inner, ("group by %s: %s"):format(table.concat(names, ","), what), function()
    return keyed.group(class, keys, slots, numbered, inner.ids)
  end)
  local group_of = numbered and indexes(inner.count + 1) or nil
  local order = run(inner.q, inner.ids, inner.count, group_of)
  for _, a in ipairs(aggregates) do
    if a.kind == "quantile" then a.results = quantiles(inner, a, order, group_of) end
  end
  for i, g in ipairs(order) do order[i] = finish(inner, keys, aggregates, g) end
  return list.new(order, { keys = names, enums = class.enums, seconds = inner.owner.seconds })
end

return { group = group }
