-- SPDX-License-Identifier: Apache-2.0
--
-- Plain rows with the verbs of records: what group() gives. They belong to no window and may be kept and
-- changed.

local words = require "perilune.words"

local list = {}

local methods = {}
local List = {}

function List.__index(_, key)
  if type(key) == "number" then return nil end
  local method = methods[key]
  if method then return method end
  error(('a list of rows has no "%s" (%s)'):format(tostring(key), words.suggest(key, words.keys(methods))), 2)
end

-- Gives a list of tables the verbs.
function list.new(rows)
  return setmetatable(rows, List)
end

local function value_of(row, field, level)
  local value = row[field]
  if value ~= nil then return value end
  local remedy = words.suggest(field, words.keys(row))
  error(('there is no field "%s" (%s)'):format(tostring(field), remedy), level + 1)
end

local function column(rows, field, level)
  local values = {}
  for i, row in ipairs(rows) do values[i] = value_of(row, field, level + 1) end
  return values
end

-- Sorts places (1 … n) by values[place]; equal ones keep their order.
function list.order(places, values, direction, level)
  if direction ~= nil and direction ~= "ascending" and direction ~= "descending" then
    error(('sort: "ascending" or "descending", not "%s"'):format(tostring(direction)), level + 1)
  end
  local down = direction == "descending"
  table.sort(places, function(a, b)
    local x, y = values[a], values[b]
    if x == y then return a < b end
    if down then return x > y end
    return x < y
  end)
end

local function sorted(rows, field, direction, level)
  local places, values, result = {}, column(rows, field, level + 1), {}
  for i = 1, #rows do places[i] = i end
  list.order(places, values, direction, level + 1)
  for i, place in ipairs(places) do result[i] = rows[place] end
  return list.new(result)
end

function methods.count(rows) return #rows end
function methods.column(rows, field) return column(rows, field, 2) end
function methods.sort(rows, field, direction) return sorted(rows, field, direction, 2) end

-- The n rows with the largest values, largest first.
function methods.top(rows, n, field)
  local result = sorted(rows, field, "descending", 2)
  for i = #result, n + 1, -1 do result[i] = nil end
  return result
end

-- Rows whose fields have these values, or for which a function(row) is true.
function methods.where(rows, condition)
  local result = {}
  if type(condition) ~= "table" and type(condition) ~= "function" then
    error("where: on a list of rows, expected { field = value } or a function, got a " .. type(condition), 2)
  end
  for _, row in ipairs(rows) do
    local keep = true
    if type(condition) == "function" then
      keep = condition(row)
    else
      for field, value in pairs(condition) do keep = keep and value_of(row, field, 2) == value end
    end
    if keep then result[#result + 1] = row end
  end
  return list.new(result)
end

function methods.sum(rows, field)
  local total = 0
  for _, value in ipairs(column(rows, field, 2)) do total = total + value end
  return total
end

function methods.mean(rows, field)
  local total = 0
  for _, value in ipairs(column(rows, field, 2)) do total = total + value end
  return #rows > 0 and total / #rows or nil
end

function methods.min(rows, field)
  local least
  for _, value in ipairs(column(rows, field, 2)) do
    if least == nil or value < least then least = value end
  end
  return least
end

function methods.max(rows, field)
  local most
  for _, value in ipairs(column(rows, field, 2)) do
    if most == nil or value > most then most = value end
  end
  return most
end

-- fn(row, i) for every row.
function methods.each(rows, fn)
  for i, row in ipairs(rows) do fn(row, i) end
end

-- for i, row in rows:rows() do … end
function methods.rows(rows) return ipairs(rows) end

return list
