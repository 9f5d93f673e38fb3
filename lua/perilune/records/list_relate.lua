-- SPDX-License-Identifier: Apache-2.0
--
-- The verbs join and delta on plain rows, by equal values; relate.lua says what they do.

local blame = require "perilune.base.blame"
local list = require "perilune.records.list"
local words = require "perilune.base.words"

local list_relate = {}

local MOST_PAIRS = 1000000

-- A key that many rows of both sides share makes more pairs than memory holds.
function list_relate.check_pairs(n)
  if n >= MOST_PAIRS then blame.fail("join: more than %d pairs of rows have equal keys", MOST_PAIRS) end
end

-- delta's own field must not hide one of the records'.
function list_relate.check_mark(name)
  if name == "reset" then blame.fail 'delta: "reset" is what marks a counter that went back; leave that field out' end
end

-- What a call names: texts, or one list of them.
function list_relate.names(...)
  local first = ...
  local names = type(first) == "table" and first or { ... }
  for _, name in ipairs(names) do
    if type(name) ~= "string" then blame.fail("delta: expected the name of a field, got a %s", type(name)) end
  end
  return names
end

-- The key of a join as { left = names, right = names }.
function list_relate.keys_of(by)
  local keys = { left = {}, right = {} }
  local function add(left, right)
    if type(left) ~= "string" or type(right) ~= "string" then
      blame.fail 'join: expected the names of key fields, like "src" or { src = "dst" }'
    end
    keys.left[#keys.left + 1], keys.right[#keys.right + 1] = left, right
  end
  if type(by) ~= "table" then by = { by } end
  for _, name in ipairs(by) do add(name, name) end
  local named = {}
  for left in pairs(by) do
    if type(left) ~= "number" then named[#named + 1] = left end
  end
  table.sort(named, function(a, b) return tostring(a) < tostring(b) end)
  for _, left in ipairs(named) do add(left, by[left]) end
  if #keys.left == 0 then blame.fail "join: by which field?" end
  return keys
end

local function set_of(names)
  local set = {}
  for _, name in ipairs(names) do set[name] = true end
  return set
end

-- The columns that come from the other side, { name = in the result, from = there }. `ours`, `theirs`: all names.
function list_relate.columns(ours, theirs, keys, wanted)
  local columns, taken, keyed = {}, set_of(ours), set_of(keys.right)
  local function add(from, name)
    if type(from) ~= "string" then blame.fail "join: expected the names of the other's fields" end
    if taken[name] then blame.fail('join: two fields would be called "%s" (name one: { NAME = "%s" })', name, from) end
    taken[name] = true
    columns[#columns + 1] = { name = name, from = from }
  end
  local function free(from) return taken[from] and "other_" .. from or from end
  if type(wanted) == "string" then wanted = { wanted } end
  for _, from in ipairs(wanted or theirs) do
    if wanted or not keyed[from] then add(from, free(from)) end
  end
  local renamed = {}
  for name, from in pairs(wanted or {}) do
    if type(name) == "string" then renamed[name] = from end
  end
  for _, name in ipairs(words.keys(renamed)) do add(renamed[name], name) end
  return columns
end

-- { [key] = list of rows }
local function index(rows, fields)
  local found = {}
  for _, row in ipairs(rows) do
    local key = list.keys(row, fields)
    found[key] = found[key] or {}
    found[key][#found[key] + 1] = row
  end
  return found
end

local function plain_rows(verb, rows)
  if type(rows) == "table" then return rows end
  if type(rows) == "userdata" or rows == nil then blame.fail("%s: with which records?", verb) end
  blame.fail("%s: expected records, got a %s", verb, type(rows))
end

function list_relate.join(rows, other, by, wanted)
  local keys, result = list_relate.keys_of(by), {}
  plain_rows("join", other)
  local columns = list_relate.columns(words.keys(rows[1] or {}), words.keys(other[1] or {}), keys, wanted)
  local found = index(other, keys.right)
  for _, row in ipairs(rows) do
    for _, match in ipairs(found[list.keys(row, keys.left)] or {}) do
      list_relate.check_pairs(#result)
      local pair = {}
      for name, value in pairs(row) do pair[name] = value end
      for _, column in ipairs(columns) do pair[column.name] = list.value(match, column.from) end
      result[#result + 1] = pair
    end
  end
  local about = list.about(rows)
  return list.new(result, { keys = keys.left, enums = about.enums, seconds = about.seconds })
end

local function counters_of(rows, about)
  if about.counters then return about.counters end
  local names, is_key = {}, set_of(about.keys)
  for _, name in ipairs(words.keys(rows[1] or {})) do
    if not is_key[name] and type(rows[1][name]) == "number" then names[#names + 1] = name end
  end
  return names
end

-- The growth of one counter, and whether it went back.
local function growth(name, now, before, gauge)
  if not before then return now end
  if not gauge and now < before then return now, true end
  local by = now - before
  if math.abs(by) >= 2 ^ 53 then blame.fail('"%s" changed by 2^53 or more, where a number is no longer exact', name) end
  return by
end

-- `rows` and `earlier`: lists of plain rows; names: of the counters.
function list_relate.delta(rows, earlier, names)
  local about = list.about(rows)
  local keys, gauges = about.keys, about.gauges or {}
  if not keys then blame.fail 'delta: which fields are the key? group the rows first, as in rows:group("src", …)' end
  if #names == 0 then names = counters_of(rows, about) end
  local found, result = index(plain_rows("delta", earlier), keys), {}
  for _, matches in pairs(found) do
    if #matches > 1 then blame.fail "delta: two earlier rows have the same key" end
  end
  for _, name in ipairs(keys) do list_relate.check_mark(name) end
  for i, row in ipairs(rows) do
    local grown, match = { reset = false }, found[list.keys(row, keys)]
    for _, name in ipairs(keys) do grown[name] = row[name] end
    for _, name in ipairs(names) do
      list_relate.check_mark(name)
      local now, before = list.value(row, name), match and list.value(match[1], name)
      local back
      grown[name], back = growth(name, now, before, gauges[name])
      grown.reset = grown.reset or back or false
    end
    result[i] = grown
  end
  return list.new(result, about)
end

return list_relate
