-- SPDX-License-Identifier: Apache-2.0
--
-- Records as a policy sees them: read-only, bounds-checked, tied to their window.
--
--   v[3].bytes   for i, row in v:rows() do … end   v:count()   v:json(10)   v:copy(10)
--
-- A row reads its fields where they lie, when asked: counters as numbers (exact to 2^53, an error beyond),
-- addresses, bytes, text and known enum values as text, times as seconds since the epoch, arrays as lists;
-- row:plain() is a table of all. Any use after the window has been closed is an error. The verbs (where,
-- group, top …) come from shape.lua.
--
-- A batch is a userdata of perilune.core.batch, or anything with its methods pointer, count, layout, text,
-- raw, json, close.

local record = require "perilune.record"
local words = require "perilune.words"

local view = {}

local methods = {}
local View, Row = {}, {}

-- view → what is behind it; apart, so that nothing of it can be reached from a policy.
local behind = setmetatable({}, { __mode = "k" })
local RECORDS, INDEX = {}, {} -- keys of a row's own two values

local function closed(owner, level)
  if owner.closed then
    error(("these records belong to window %s, which is closed"):format(tostring(owner.window)), level + 1)
  end
end

-- What is behind a view whose window is open: { batch, class, p, q, ids, count, owner }. For shape.lua.
function view.inner(v, level)
  local inner = behind[v]
  if not inner then error("expected records; call it with a colon, as in w.to:count()", level + 1) end
  closed(inner.owner, level + 1)
  return inner
end

local function wrap(inner)
  local v = setmetatable({}, View)
  behind[v] = inner
  return v
end

-- A view of all records of a batch. options.window is its number, for messages.
function view.new(batch, options)
  local class = record.class(batch:layout())
  local p, q = record.pointers(class, batch:pointer())
  return wrap {
    batch = batch, class = class, p = p, q = q, count = batch:count(),
    owner = { batch = batch, window = options and options.window or "?", closed = false },
  }
end

-- A view of some of the records of another: ids[0 … count-1] are numbers of records, from 0.
function view.choose(inner, ids, count)
  return wrap {
    batch = inner.batch, class = inner.class, p = inner.p, q = inner.q, ids = ids, count = count,
    owner = inner.owner,
  }
end

function view.is(thing) return behind[thing] ~= nil end

-- Adds verbs, each called as verb(v, …).
function view.install(verbs)
  for name, verb in pairs(verbs) do methods[name] = verb end
end

-- A generated function (p, i) → value of a field that is made of numbers.
local function number_getter(class, field)
  return record.generate(class, "get " .. field.name, function()
    if field.count == 1 then
      return ("return function(p, i) %s return v%d end"):format(record.load(field), field.index)
    end
    return ("return function(p, i) local list = {} for e = 0, %d do %s list[e + 1] = v%d end return list end")
      :format(field.count - 1, record.load(field, "[e]"), field.index)
  end)
end

local function enum_value(inner, field, i)
  local text = inner.batch:text(field.index, i + 1)
  return tonumber(text) or text
end

-- The value of a field of record i (from 0).
function view.value(inner, field, i)
  local kind = field.kind
  if kind == "address" or kind == "text" or kind == "bytes" or (kind == "enum" and field.count > 1) then
    return (inner.batch:text(field.index, i + 1))
  end
  if kind == "enum" then return enum_value(inner, field, i) end
  local value = number_getter(inner.class, field)(inner.p, i)
  return value
end

local function plain_of(inner, i)
  local plain = {}
  for _, field in ipairs(inner.class.fields) do plain[field.name] = view.value(inner, field, i) end
  return plain
end

-- A table of all fields, which outlives the window.
local function plain(row)
  local inner = rawget(row, RECORDS)
  closed(inner.owner, 2)
  return plain_of(inner, rawget(row, INDEX))
end

function Row.__index(row, name)
  local inner = rawget(row, RECORDS)
  closed(inner.owner, 2)
  local field = inner.class.by_name[name]
  if not field and name == "plain" then return plain end
  local value = view.value(inner, field or record.field(inner.class, name, 2), rawget(row, INDEX))
  return value
end

function Row.__newindex(_, name)
  error(('records cannot be changed: "%s"'):format(tostring(name)), 2)
end

-- The fields in order, for loops that know of __pairs.
function Row.__pairs(row)
  local inner, n = rawget(row, RECORDS), 0
  return function()
    n = n + 1
    local field = inner.class.fields[n]
    if field then return field.name, row[field.name] end
  end
end

local function show(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for i, element in ipairs(value) do parts[i] = tostring(element) end
  return "[" .. table.concat(parts, " ") .. "]"
end

function Row.__tostring(row)
  local parts = {}
  for name, value in Row.__pairs(row) do parts[#parts + 1] = name .. "=" .. show(value) end
  return table.concat(parts, " ")
end

Row.__metatable = "row"

-- The row at place k (from 0).
function view.row(inner, k)
  return setmetatable({ [RECORDS] = inner, [INDEX] = inner.ids and inner.ids[k] or k }, Row)
end

function View.__index(v, key)
  if type(key) ~= "number" then
    local method = methods[key]
    if method then return method end
    error(('records have no "%s" (%s)'):format(tostring(key), words.suggest(key, words.keys(methods))), 2)
  end
  local inner = view.inner(v, 2)
  if key < 1 or key > inner.count or key % 1 ~= 0 then
    error(("there is no record %s of %d"):format(tostring(key), inner.count), 2)
  end
  return view.row(inner, key - 1)
end

function View.__newindex(_, key)
  error(("records cannot be changed: [%s]"):format(tostring(key)), 2)
end

function View.__tostring(v)
  local inner = behind[v]
  return ("records of window %s (%s)"):format(tostring(inner.owner.window),
    inner.owner.closed and "closed" or inner.count .. " rows")
end

View.__metatable = "records"

function methods.count(v) return view.inner(v, 2).count end

-- for i, row in v:rows() do … end
function methods.rows(v)
  local inner, k = view.inner(v, 2), 0
  return function()
    closed(inner.owner, 2)
    if k >= inner.count then return nil end
    k = k + 1
    return k, view.row(inner, k - 1)
  end
end

function View.__ipairs(v) return methods.rows(v) end
View.__pairs = View.__ipairs

-- JSON text of the first `limit` rows, or of all.
function methods.json(v, limit)
  local inner = view.inner(v, 2)
  local indexes
  if inner.ids then
    indexes = {}
    for k = 0, math.min(limit or inner.count, inner.count) - 1 do indexes[k + 1] = inner.ids[k] + 1 end
  end
  return inner.batch:json(indexes, limit)
end

-- The first `limit` rows, or all, as plain tables that outlive the window.
function methods.copy(v, limit)
  local inner, list = view.inner(v, 2), {}
  for k = 0, math.min(limit or inner.count, inner.count) - 1 do
    list[k + 1] = plain_of(inner, inner.ids and inner.ids[k] or k)
  end
  return list
end

-- The names of the fields, in order.
function methods.fields(v)
  return { unpack(view.inner(v, 2).class.names) }
end

-- Frees the records. Views of the same window, and rows, cannot be used any more.
function methods.close(v)
  local owner = assert(behind[v], "expected records").owner
  if owner.closed then return end
  owner.closed = true
  owner.batch:close()
end

return view
