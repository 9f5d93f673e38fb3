-- SPDX-License-Identifier: Apache-2.0
--
-- A batch made of plain tables, with the interface of the runtime's: for specs of view and shape.
--
--   fake.new({ { "src", "address", key = true }, { "bytes", "uint", 8 } }, { { src = "10.0.0.1", bytes = 5 }, … })

local bit = require "bit"
local ffi = require "ffi"

local fake = {}

local SIZES = { address = 16, time = 8, bool = 1 }
local made = 0

local function ctype(field)
  local name = "f" .. field.index
  if field.kind == "address" or field.kind == "text" or field.kind == "bytes" then
    return ("uint8_t %s[%d];"):format(name, field.size * field.count)
  end
  local base = (field.kind == "int" and "int" or "uint") .. field.size * 8 .. "_t "
  return base .. name .. (field.count > 1 and ("[%d];"):format(field.count) or ";")
end

local function layout_of(specs)
  local fields, members, offset = {}, {}, 0
  for i, spec in ipairs(specs) do
    local field = {
      name = spec[1], kind = spec[2], size = spec[3] or SIZES[spec[2]], count = spec.count or 1, key = spec.key or false,
      index = i - 1, offset = offset, names = spec.names,
    }
    fields[i], members[i] = field, ctype(field)
    offset = offset + field.size * field.count
  end
  local pad = -offset % 8
  if pad > 0 then members[#members + 1] = ("uint8_t pad[%d];"):format(pad) end
  made = made + 1
  local hash = ("%016x"):format(made)
  return {
    hash = hash, fields = fields, stride = offset + pad,
    cdef = ("struct __attribute__((packed)) perilune_%s { %s };"):format(hash, table.concat(members, " ")),
  }
end

local function address(text)
  local a, b, c, d = text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  return a and ("\0"):rep(10) .. "\255\255" .. string.char(a, b, c, d) or nil
end

local function raw_of(field, value)
  if field.kind == "address" then return address(value) end
  if field.kind == "text" then return #value <= field.size and value .. ("\0"):rep(field.size - #value) or nil end
  if field.kind == "bytes" then return (value:gsub("(%x%x):?", function(hex) return string.char(tonumber(hex, 16)) end)) end
  for number, name in pairs(field.names) do
    if name == value then return string.char(number) .. ("\0"):rep(field.size - 1) end
  end
end

local function text_of(field, raw)
  if field.kind == "address" then return table.concat({ raw:byte(13, 16) }, ".") end
  if field.kind == "text" then return raw:match("^%Z*") end
  if field.kind == "bytes" then
    local hex = raw:gsub(".", function(c) return (":%02x"):format(c:byte()) end)
    return hex:sub(2)
  end
  return field.names[raw:byte()] or tostring(raw:byte())
end

local function swapped(value, size)
  if size == 2 then return bit.rshift(bit.bswap(value), 16) end
  return bit.bswap(value)
end

local function store(record, field, value)
  local name = "f" .. field.index
  if field.kind == "address" or field.kind == "text" or field.kind == "bytes" then
    ffi.copy(record[name], assert(raw_of(field, value)), field.size)
  elseif field.kind == "be_uint" then
    record[name] = swapped(value, field.size)
  elseif field.kind == "bool" then
    record[name] = value and 1 or 0
  elseif field.count > 1 then
    for i, element in ipairs(value) do record[name][i - 1] = element end
  else
    record[name] = value
  end
end

local Batch = {}
Batch.__index = Batch

function Batch:open() assert(not self.closed, "this batch is closed") end
function Batch:pointer() self:open() return self.records end
function Batch:count() self:open() return self.n end
function Batch:layout() return self.about end
function Batch:close() self.closed = true end

function Batch:text(index, which)
  self:open()
  local field = self.about.fields[index + 1]
  if type(which) == "number" then
    local base = ffi.cast("const char *", self.records) + (which - 1) * self.about.stride
    which = ffi.string(base + field.offset, field.size)
  end
  return text_of(field, which)
end

function Batch:raw(index, text)
  return raw_of(self.about.fields[index + 1], text)
end

-- What was asked for, instead of JSON.
function Batch:json(indexes, limit)
  return (indexes and table.concat(indexes, ",") or "all") .. " limit " .. tostring(limit)
end

-- `rows` is a list, or a count and a function(i, record) that fills the struct of record i (from 0).
function fake.new(specs, rows, fill)
  local layout = layout_of(specs)
  ffi.cdef(layout.cdef)
  layout.cdef = "" -- already known, and a struct can be defined once only
  local n = fill and rows or #rows
  local records = ffi.new(("struct perilune_%s[?]"):format(layout.hash), math.max(n, 1))
  for i = 0, n - 1 do
    if fill then
      fill(i, records[i])
    else
      for _, field in ipairs(layout.fields) do
        if rows[i + 1][field.name] ~= nil then store(records[i], field, rows[i + 1][field.name]) end
      end
    end
  end
  return setmetatable({ about = layout, records = records, n = n, closed = false }, Batch)
end

return fake
