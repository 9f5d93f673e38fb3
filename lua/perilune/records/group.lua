-- SPDX-License-Identifier: Apache-2.0
--
-- The verb group: rows of equal fields become one plain row with aggregates (aggregate.lua).
--
--   v:group("src", { bytes = sum "bytes", n = count(), ports = distinct "dport" })
--   v:group({ "src", "dport" }, { p99 = quantile("bytes", 0.99) })
--
-- Groups come in the order of their first rows.

local ffi = require "ffi"
local aggregate = require "perilune.records.aggregate"
local blame = require "perilune.base.blame"
local entropy = require "perilune.records.entropy"
local keyed = require "perilune.records.loops_keyed"
local list = require "perilune.records.list"
local quantile = require "perilune.records.quantile"
local record = require "perilune.records.record"
local value = require "perilune.records.value"
local view = require "perilune.records.view"

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
  elseif a.kind == "entropy" then
    a.at = slot("weight", 1)
    slot("logs", 1)
    slot("positive", 1)
  elseif a.kind == "histogram" then
    a.at = at
    for j = 0, a.of.count - 1 do
      slots[#slots + 1] = { step = "sum", field = record.element(a.of, j), at = at }
      at = at + 1
    end
  end
  return at
end

local function plan(class, aggregates)
  local slots, at, parts, numbered = {}, FIRST_SLOT, {}, false
  for i, a in ipairs(aggregates) do
    if a.kind == "distinct" then
      a.of = keyed.comparable(record.field(class, a.field))
    elseif a.kind == "histogram" then
      a.of = record.field(class, a.field)
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
  if a.kind == "entropy" then return entropy.of(result, g[a.at + 1], g[a.at + 2]) end
  if a.kind == "histogram" then return { unpack(g, a.at, a.at + a.of.count - 1) } end
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

-- The groups, each { number of its first record, rows, number of the group, … }, and the key's fields.
local function run_groups(inner, names, aggregates)
  local class, keys = inner.class, {}
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
  return order, keys
end

local function group(v, by, wanted)
  local inner = view.inner(v)
  local names, aggregates = aggregate.parse(by, wanted)
  local order, keys = run_groups(inner, names, aggregates)
  for i, g in ipairs(order) do order[i] = finish(inner, keys, aggregates, g) end
  return list.new(order, { keys = names, enums = inner.class.enums, seconds = inner.owner.seconds })
end

local function raw_reader(inner, names)
  local class, fields = inner.class, {}
  for i, name in ipairs(names) do fields[i] = record.field(class, name) end
  local run = view.generate(inner, "raw " .. table.concat(names, ","), function() return keyed.raw(class, fields) end)
  return function(g) return run(inner.q + g[1] * class.stride) end
end

-- For the engine: calls each(raw keys, values of the aggregates in a table by name) for every group. A key of several
-- is one or several fields, as of raw.groups. The aggregates are as aggregate.parse makes them, or a "histogram" of a
-- list: its sums, element by element.
local function each_group(v, keys, aggregates, each)
  local inner, names, readers = view.inner(v), {}, {}
  for i, key in ipairs(keys) do
    local own = type(key) == "table" and key or { key }
    for _, name in ipairs(own) do names[#names + 1] = name end
    readers[i] = raw_reader(inner, own)
  end
  local order = run_groups(inner, names, aggregates)
  for _, g in ipairs(order) do
    local raws, values = {}, {}
    for i, read in ipairs(readers) do raws[i] = read(g) end
    for _, a in ipairs(aggregates) do values[a.name] = result_of(a, g, inner.owner.seconds) end
    each(raws, values)
  end
end

-- For many groups, without a table of their own for each: the groups of the key `names` (a list of fields) by several
-- lists of aggregates, each made in one pass over the rows. → { count, key(i) → raw, text(i, name) → that field of its
-- first row, value(pass, aggregate, i) }; of use as long as the view.
local function table_of(v, names, passes)
  local inner, orders = view.inner(v), {}
  for p, aggregates in ipairs(passes) do orders[p] = run_groups(inner, names, aggregates) end
  local first, read, seconds = orders[1], raw_reader(inner, names), inner.owner.seconds
  return {
    count = #first,
    key = function(i) return read(first[i]) end,
    text = function(i, name) return (inner.batch:text(record.field(inner.class, name).index, first[i][1] + 1)) end,
    value = function(pass, a, i) return result_of(a, orders[pass][i], seconds) end,
  }
end

return { verbs = { group = group }, each = each_group, table = table_of }
