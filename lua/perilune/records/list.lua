-- SPDX-License-Identifier: Apache-2.0
--
-- Plain rows with the verbs of records: what group(), copy(), delta() and join() give. They belong to no window and
-- may be kept and changed.

local aggregate = require "perilune.records.aggregate"
local blame = require "perilune.base.blame"
local entropy = require "perilune.records.entropy"
local quantile = require "perilune.records.quantile"
local words = require "perilune.base.words"

local list = {}

local methods = {}
local List = {}

-- rows → what is known of them: fields (their names in order), keys (names of those that tell rows apart), seconds (of
-- their window), counters
-- (what delta compares), gauges (set of those that may fall), enums (set of fields that are names or numbers). Apart,
-- so that a list holds nothing but its rows.
local abouts = setmetatable({}, { __mode = "k" })

function List.__index(_, key)
  if type(key) == "number" then return nil end
  local method = methods[key]
  if method then return method end
  blame.fail('a list of rows has no "%s" (%s)', tostring(key), words.suggest(key, words.keys(methods)))
end

-- Gives a list of tables the verbs. `about` may be nil.
function list.new(rows, about)
  abouts[rows] = about
  return setmetatable(rows, List)
end

function list.about(rows) return abouts[rows] or {} end

function list.is(thing) return getmetatable(thing) == List end

-- Adds verbs, each called as verb(rows, …).
function list.install(verbs)
  for name, verb in pairs(verbs) do methods[name] = verb end
end

-- A list of some of the rows of another.
local function some(rows, chosen) return list.new(chosen, abouts[rows]) end

function list.value(row, field)
  local value = row[field]
  if value ~= nil then return value end
  blame.fail('there is no field "%s" (%s)', tostring(field), words.suggest(field, words.keys(row)))
end

local function column(rows, field)
  local values = {}
  for i, row in ipairs(rows) do values[i] = list.value(row, field) end
  return values
end

-- The same, and all are numbers.
local function numbers(rows, field)
  local values = column(rows, field)
  for _, value in ipairs(values) do
    if type(value) ~= "number" then blame.fail('"%s" is not a number but a %s', tostring(field), type(value)) end
  end
  return values
end

-- A number of rows to be given.
function list.how_many(n)
  if type(n) ~= "number" or n ~= n or n < 0 then blame.fail 'top: how many rows? write top(10, "bytes")' end
  return math.floor(n)
end

-- Sorts places (1 … n) by values[place]; equal ones keep their order.
function list.order(places, values, direction)
  if direction ~= nil and direction ~= "ascending" and direction ~= "descending" then
    blame.fail('sort: "ascending" or "descending", not "%s"', tostring(direction))
  end
  local down = direction == "descending"
  table.sort(places, function(a, b)
    local x, y = values[a], values[b]
    if x == y then return a < b end
    if down then return x > y end
    return x < y
  end)
end

-- Values that can be ordered: numbers, or the others as text.
local function sortable(rows, field)
  local values, mixed = column(rows, field), false
  for i, value in ipairs(values) do
    if type(value) == "table" then blame.fail('"%s" is a list and has no order', field) end
    mixed = mixed or type(value) ~= "number"
    if value ~= value then values[i] = -math.huge end -- no number comes last
  end
  for i = 1, mixed and #values or 0 do values[i] = tostring(values[i]) end
  return values
end

local function sorted(rows, values, direction)
  local places, result = {}, {}
  for i = 1, #rows do places[i] = i end
  list.order(places, values, direction)
  for i, place in ipairs(places) do result[i] = rows[place] end
  return some(rows, result)
end

--- The first `most` of them, or all, as a list of its own.
function methods.copy(rows, most)
  local result = {}
  for i = 1, math.min(#rows, most or #rows) do result[i] = rows[i] end
  return some(rows, result)
end

function methods.count(rows) return #rows end
function methods.column(rows, field) return column(rows, field) end
function methods.sort(rows, field, direction) return sorted(rows, sortable(rows, field), direction) end

-- The n rows with the largest values, largest first.
function methods.top(rows, n, field)
  n = list.how_many(n)
  numbers(rows, field)
  local result = sorted(rows, sortable(rows, field), "descending")
  for i = #result, n + 1, -1 do result[i] = nil end
  return result
end

-- Sums are exact or an error, like those of records, unless there is a fraction among the values.
function list.sum(rows, field)
  local total, magnitude, whole = 0, 0, true
  for _, value in ipairs(numbers(rows, field)) do
    total, magnitude = total + value, magnitude + math.abs(value)
    whole = whole and value % 1 == 0
  end
  if whole then aggregate.exact(field, magnitude) end
  return total
end

function methods.sum(rows, field) return (list.sum(rows, field)) end

function methods.mean(rows, field)
  local total = list.sum(rows, field)
  return #rows > 0 and total / #rows or nil
end

-- The sum a second of the window that the rows come from.
function methods.rate(rows, field)
  return (aggregate.rate(list.sum(rows, field), list.about(rows).seconds))
end

function methods.min(rows, field)
  local least
  for _, value in ipairs(numbers(rows, field)) do
    if least == nil or value < least or least ~= least then least = value end
  end
  return least
end

function methods.max(rows, field)
  local most
  for _, value in ipairs(numbers(rows, field)) do
    if most == nil or value > most or most ~= most then most = value end
  end
  return most
end

-- How many different values a field has.
function methods.distinct(rows, field)
  local seen, n = {}, 0
  for _, value in ipairs(column(rows, field)) do
    local key = list.key(value)
    if not seen[key] then seen[key], n = true, n + 1 end
  end
  return n
end

-- As of records; q from 0 to 1 or "99%".
function methods.entropy(rows, field) return (entropy.values(numbers(rows, field))) end

function methods.quantile(rows, field, q)
  local share, values, n = quantile.share(q), {}, 0
  for _, value in ipairs(numbers(rows, field)) do
    if value == value then n, values[n + 1] = n + 1, value end
  end
  if n == 0 then return nil end
  table.sort(values)
  return values[quantile.rank(share, n)]
end

-- fn(row, i) for every row.
function methods.each(rows, fn)
  for i, row in ipairs(rows) do fn(row, i) end
end

-- for i, row in rows:rows() do … end
function methods.rows(rows) return ipairs(rows) end

-- What stands for a value of a row where equal ones are to meet: of a number all its digits, of a list its elements.
function list.key(value)
  if type(value) == "string" then return ("s%d:%s"):format(#value, value) end
  if type(value) == "number" then return ("n%.17g;"):format(value + 0) end
  if type(value) ~= "table" then return tostring(value) .. ";" end
  local parts = {}
  for i, element in ipairs(value) do parts[i] = list.key(element) end
  return "{" .. table.concat(parts) .. "}"
end

-- The same of several fields of a row.
function list.keys(row, fields)
  local parts = {}
  for i, field in ipairs(fields) do parts[i] = list.key(list.value(row, field)) end
  return table.concat(parts)
end

return list
