-- SPDX-License-Identifier: Apache-2.0
--
-- Records as a policy sees them: read-only, bounds-checked, tied to their window.
--
--   v[3].bytes   for i, row in v:rows() do … end   v:count()   v:json(10)   v:copy(10)
--
-- A row reads its fields where they lie, when asked (value.lua says as what); row:plain() is a table of all. Any
-- use after the window has been closed is an error. The verbs (where, group, top …) come from shape.lua.
--
-- A batch is a userdata of perilune.core.batch, or anything with its methods pointer, count, layout, text,
-- element_text, raw, json, close.

local blame = require "perilune.base.blame"
local list = require "perilune.records.list"
local record = require "perilune.records.record"
local value = require "perilune.records.value"
local words = require "perilune.base.words"

local view = {}

local methods = {}
local View, Row = {}, {}

-- view → what is behind it; apart, so that nothing of it can be reached from a policy.
local behind = setmetatable({}, { __mode = "k" })
local RECORDS, INDEX = {}, {} -- keys of a row's own two values

local function check_open(owner)
  if owner.closed then
    blame.fail("these records belong to window %s, which is closed", tostring(owner.window))
  end
end

-- What is behind a view whose window is open: { batch, class, q, ids, count, owner }. For the verbs.
function view.inner(v)
  local inner = behind[v]
  if not inner then blame.fail("expected records; call it with a colon, as in w.to:count()") end
  check_open(inner.owner)
  return inner
end

local function wrap(inner)
  local v = setmetatable({}, View)
  behind[v] = inner
  return v
end

-- A view of all records of a batch. options: window (its number, for messages), seconds (how long it was, for
-- rates).
function view.new(batch, options)
  options = options or {}
  return wrap {
    batch = batch, class = record.class(batch:layout()), q = record.pointer(batch:pointer()), count = batch:count(),
    owner = { batch = batch, window = options.window or "?", seconds = options.seconds, closed = false },
  }
end

-- A view of some of the records of another: ids[0 … count-1] are numbers of records, from 0.
function view.choose(inner, ids, count)
  return wrap {
    batch = inner.batch, class = inner.class, q = inner.q, ids = ids, count = count, owner = inner.owner,
  }
end

function view.is(thing) return behind[thing] ~= nil end

-- Adds verbs, each called as verb(v, …).
function view.install(verbs)
  for name, verb in pairs(verbs) do methods[name] = verb end
end

-- Generated code has its name from what it does, with which fields, and on all records or a choice of them.
function view.generate(inner, what, make)
  return record.generate(inner.class, what .. (inner.ids and " chosen" or " all"), make)
end

-- The number of the record at place k (both from 0).
function view.index(inner, k)
  return inner.ids and inner.ids[k] or k
end

local function plain_of(inner, i)
  local plain = {}
  for _, field in ipairs(inner.class.fields) do plain[field.name] = value.get(inner, field, i) end
  return plain
end

-- A table of all fields, which outlives the window.
local function plain(row)
  local inner = rawget(row, RECORDS)
  check_open(inner.owner)
  return plain_of(inner, rawget(row, INDEX))
end

function Row.__index(row, name)
  local inner = rawget(row, RECORDS)
  check_open(inner.owner)
  local field = inner.class.by_name[name]
  if not field and name == "plain" then return plain end
  return value.get(inner, field or record.field(inner.class, name), rawget(row, INDEX))
end

function Row.__newindex(_, name)
  blame.fail('records cannot be changed: "%s"', tostring(name))
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

local function show(shown)
  if type(shown) ~= "table" then return tostring(shown) end
  local parts = {}
  for i, element in ipairs(shown) do parts[i] = show(element) end
  return "[" .. table.concat(parts, " ") .. "]"
end

function Row.__tostring(row)
  local parts = {}
  for name, shown in Row.__pairs(row) do parts[#parts + 1] = name .. "=" .. show(shown) end
  return table.concat(parts, " ")
end

Row.__metatable = "row"

-- The row at place k (from 0).
function view.row(inner, k)
  return setmetatable({ [RECORDS] = inner, [INDEX] = view.index(inner, k) }, Row)
end

function View.__index(v, key)
  if type(key) ~= "number" then
    local method = methods[key]
    if method then return method end
    blame.fail('records have no "%s" (%s)', tostring(key), words.suggest(key, words.keys(methods)))
  end
  local inner = view.inner(v)
  if key < 1 or key > inner.count or key % 1 ~= 0 then
    blame.fail("there is no record %s of %d", tostring(key), inner.count)
  end
  return view.row(inner, key - 1)
end

function View.__newindex(_, key)
  blame.fail("records cannot be changed: [%s]", tostring(key))
end

function View.__tostring(v)
  local inner = behind[v]
  return ("records of window %s (%s)"):format(tostring(inner.owner.window),
    inner.owner.closed and "closed" or inner.count .. " rows")
end

View.__metatable = "records"

function methods.count(v) return view.inner(v).count end

-- for i, row in v:rows() do … end
function methods.rows(v)
  local inner, k = view.inner(v), 0
  return function()
    check_open(inner.owner)
    if k >= inner.count then return nil end
    k = k + 1
    return k, view.row(inner, k - 1)
  end
end

function View.__ipairs(v) return methods.rows(v) end
View.__pairs = View.__ipairs

local function at_most(inner, limit)
  if limit ~= nil and (type(limit) ~= "number" or limit ~= limit or limit < 0) then
    blame.fail("how many rows? %s is no count", tostring(limit))
  end
  return math.min(limit and math.floor(limit) or inner.count, inner.count)
end

-- JSON text of the first `limit` rows, or of all.
function methods.json(v, limit)
  local inner = view.inner(v)
  local indexes
  if inner.ids then
    indexes = {}
    for k = 0, at_most(inner, limit) - 1 do indexes[k + 1] = inner.ids[k] + 1 end
  end
  return inner.batch:json(indexes, limit)
end

-- Whether these records have a field of this name.
function view.has(v, name)
  return view.inner(v).class.by_name[name] ~= nil
end

-- What a list made of these records remembers of them (see list.lua).
function view.about(inner)
  local keys, counters, gauges = {}, {}, {}
  for i, field in ipairs(inner.class.keys) do keys[i] = field.name end
  for i, field in ipairs(inner.class.counters) do
    counters[i], gauges[field.name] = field.name, record.is_gauge(field) or nil
  end
  return {
    fields = inner.class.names, keys = #keys > 0 and keys or nil, counters = counters, gauges = gauges,
    enums = inner.class.enums, seconds = inner.owner.seconds,
  }
end

-- The first `limit` rows, or all, as a list of plain tables that outlives the window.
function methods.copy(v, limit)
  local inner, rows = view.inner(v), {}
  for k = 0, at_most(inner, limit) - 1 do rows[k + 1] = plain_of(inner, view.index(inner, k)) end
  return list.new(rows, view.about(inner))
end

-- The names of the fields, in order.
function methods.fields(v)
  return { unpack(view.inner(v).class.names) }
end

-- Frees the records. Views of the same window, and rows, cannot be used any more.
function methods.close(v)
  local owner = assert(behind[v], "expected records").owner
  if owner.closed then return end
  owner.closed = true
  owner.batch:close()
end

return view
