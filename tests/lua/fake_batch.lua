-- SPDX-License-Identifier: Apache-2.0
--
-- A batch made of plain tables, with the interface of the runtime's: for specs of view and shape.
--
--   fake.new({ { "src", "address", key = true }, { "bytes", "uint", 8 } }, { { src = "10.0.0.1", bytes = 5 }, … })
--
-- A field may also have signed, names (of an enum: number → name), bit and bits, dims (counts, outermost first, or
-- { count =, stride = }) and offset; without one it follows the field before. A value of 64 bits may be a cdata, one of
-- 128 { low, high }.

local bit = require "bit"
local ffi = require "ffi"

local fake = {}

local SIZES = { address = 16, ipv4 = 4, time = 8, bool = 1, pointer = 8, ifindex = 4, protocol = 1, flags = 2 }
local PROTOCOLS, INTERFACES = { [6] = "tcp", [17] = "udp" }, { [1] = "lo", [2] = "eth0" }
local hashes, made = {}, 0 -- of descriptions of layouts

local function dims_of(spec, size)
  if not spec.dims then return nil, 1, size end
  local dims, count, stride = {}, 1, size
  for i = #spec.dims, 1, -1 do
    local dim = spec.dims[i]
    dims[i] = type(dim) == "table" and dim or { count = dim, stride = stride }
    count, stride = count * dims[i].count, dims[i].count * dims[i].stride
  end
  return dims, count, stride
end

-- Equal layouts have equal hashes.
local function describe(thing)
  if type(thing) ~= "table" then return tostring(thing) end
  local parts = {}
  for key, value in pairs(thing) do parts[#parts + 1] = tostring(key) .. "=" .. describe(value) end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

local function hash_of(fields, stride)
  local text = describe { fields, stride }
  if not hashes[text] then
    made = made + 1
    hashes[text] = ("%016x"):format(made)
  end
  return hashes[text]
end

local function layout_of(specs, stride)
  local fields, offset, last = {}, 0, 0
  for i, spec in ipairs(specs) do
    local kind, size = spec[2], spec[3] or SIZES[spec[2]]
    local dims, count, extent = dims_of(spec, size)
    local signed = kind == "int" or spec.signed or false
    offset = spec.offset or offset
    fields[i] = {
      name = spec[1], kind = kind, size = size, count = count, dims = dims, key = spec.key or false, signed = signed,
      index = i - 1, offset = offset, bit = spec.bit, bits = spec.bits, names = spec.names,
    }
    offset = offset + extent
    last = math.max(last, offset)
  end
  stride = stride or last + -last % 8
  return { hash = hash_of(fields, stride), fields = fields, stride = stride }
end

-- Integers as 16 bytes, lowest first.
local function octets_of(value)
  local words = ffi.new("uint64_t[2]")
  if type(value) == "table" then
    words[0], words[1] = value[1], value[2]
  elseif type(value) == "number" then
    words[0] = ffi.cast("int64_t", value)
    words[1] = value < 0 and -1LL or 0
  else
    words[0] = value
    words[1] = value < ffi.cast(ffi.typeof(value), 0) and -1LL or 0
  end
  return ffi.string(words, 16)
end

local function find(names, text)
  for number, name in pairs(names) do
    if name == text then return number end
  end
end

local function names_of(field)
  return field.kind == "enum" and (field.names or {}) or field.kind == "protocol" and PROTOCOLS
    or field.kind == "ifindex" and INTERFACES or {}
end

-- As layout__parse: raw bytes of a text.
local function raw_of(field, text)
  local kind, size = field.kind, field.size
  if kind == "address" or kind == "ipv4" then
    local a, b, c, d = text:match "^(%d+)%.(%d+)%.(%d+)%.(%d+)$"
    local octets = a and string.char(a, b, c, d)
    return octets and (kind == "ipv4" and octets or ("\0"):rep(10) .. "\255\255" .. octets)
  end
  if kind == "text" then return #text <= size and text .. ("\0"):rep(size - #text) or nil end
  if kind == "bytes" then
    return (text:gsub("(%x%x):?", function(hex) return string.char(tonumber(hex, 16)) end))
  end
  local number = kind == "flags" and tonumber(text:match "^0x%x+$") or find(names_of(field), text)
  return number and octets_of(field.bits and number * 2 ^ field.bit or number):sub(1, size)
end

-- Bit by bit, and of a negative number the complement, so that small ones of 64 bits are exact.
local function number_of(field, raw)
  local bits, value = {}, 0
  for at = field.bit or 0, (field.bit or 0) + (field.bits or field.size * 8) - 1 do
    bits[#bits + 1] = math.floor(raw:byte(math.floor(at / 8) + 1) / 2 ^ (at % 8)) % 2
  end
  local negative = field.signed and bits[#bits] == 1
  for at = #bits, 1, -1 do value = value * 2 + (negative and 1 - bits[at] or bits[at]) end
  return negative and -value - 1 or value
end

local function text_of(field, raw)
  local kind = field.kind
  if kind == "address" then return table.concat({ raw:byte(13, 16) }, ".") end
  if kind == "ipv4" then return table.concat({ raw:byte(1, 4) }, ".") end
  if kind == "text" then return raw:match "^%Z*" end
  if kind == "pointer" then return "0x" .. (raw:reverse():gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    :gsub("^0+(.)", "%1")) end
  if kind == "bytes" then return (raw:gsub(".", function(c) return (":%02x"):format(c:byte()) end):sub(2)) end
  local number = number_of(field, raw)
  if kind == "flags" then return (field.size == 1 and "0x%02x" or "0x%04x"):format(number) end
  return names_of(field)[number] or ("%.0f"):format(number)
end

local function store_bits(p, field, value)
  local octets = octets_of(type(value) == "boolean" and (value and 1 or 0) or value)
  for n = 0, field.bits - 1 do
    local at = field.bit + n
    local byte, mask = math.floor(at / 8), bit.lshift(1, at % 8)
    local set = math.floor(octets:byte(math.floor(n / 8) + 1) / 2 ^ (n % 8)) % 2 == 1
    p[byte] = set and bit.bor(p[byte], mask) or bit.band(p[byte], bit.bnot(mask))
  end
end

local TEXTS = { address = true, ipv4 = true, text = true, bytes = true }

local function store(p, field, value)
  local kind, size = field.kind, field.size
  if field.bits then return store_bits(p, field, value) end
  if TEXTS[kind] then return ffi.copy(p, assert(raw_of(field, value)), size) end
  if kind == "float" then
    ffi.copy(p, ffi.new(size == 4 and "float[1]" or "double[1]", value), size)
  elseif kind == "bool" then
    p[0] = value and 1 or 0
  else
    local octets = octets_of(value):sub(1, size)
    ffi.copy(p, kind == "be_uint" and octets:reverse() or octets, size)
  end
end

local function store_all(p, field, dims, depth, value)
  local dim = dims and dims[depth]
  if not dim then return store(p, field, value) end
  for i = 1, dim.count do store_all(p + (i - 1) * dim.stride, field, dims, depth + 1, value[i]) end
end

local Batch = {}
Batch.__index = Batch

function Batch:open() assert(not self.closed, "this batch is closed") end
function Batch:pointer() self:open() return self.records end
function Batch:count() self:open() return self.n end
function Batch:layout() return self.about end
function Batch:close() self.closed = true end

function Batch:bytes(field, i, e)
  local offset = (i - 1) * self.about.stride + field.offset
  for d = #(field.dims or {}), 1, -1 do
    local dim = field.dims[d]
    offset, e = offset + e % dim.count * dim.stride, math.floor(e / dim.count)
  end
  return ffi.string(self.records + offset, field.size)
end

function Batch:element_text(index, i, e)
  self:open()
  local field = self.about.fields[index + 1]
  return text_of(field, self:bytes(field, i, e))
end

function Batch:text(index, which)
  self:open()
  local field, parts = self.about.fields[index + 1], {}
  if type(which) == "string" then assert(#which == field.size * field.count, "not the size of this field") end
  for e = 0, field.count - 1 do
    parts[e + 1] = text_of(field, type(which) == "string" and which:sub(e * field.size + 1, (e + 1) * field.size)
      or self:bytes(field, which, e))
  end
  return table.concat(parts, " ")
end

function Batch:raw(index, text)
  local field = self.about.fields[index + 1]
  return not field.dims and raw_of(field, text) or nil
end

-- Stores a field of record i, from 1.
function Batch:put(i, name, value)
  local field = self.by_name[name]
  store_all(self.records + ((i - 1) * self.about.stride + field.offset), field, field.dims, 1, value)
end

-- Sets all bytes of record i, from 1.
function Batch:fill(i, bytes)
  assert(#bytes == self.about.stride)
  ffi.copy(self.records + (i - 1) * self.about.stride, bytes, #bytes)
end

-- What was asked for, instead of JSON.
function Batch:json(indexes, limit)
  return (indexes and table.concat(indexes, ",") or "all") .. " limit " .. tostring(limit)
end

-- `rows` is a list, or a count and a function(i, put) that stores fields of record i (from 0): put("bytes", 5).
-- options.stride; options.noise: what lies in the record besides its fields.
function fake.new(specs, rows, fill, options)
  options = options or {}
  local layout = layout_of(specs, options.stride)
  local n, by_name = fill and rows or #rows, {}
  local records = ffi.new("uint8_t[?]", math.max(n, 1) * layout.stride)
  if options.noise then ffi.fill(records, n * layout.stride, options.noise) end
  for _, field in ipairs(layout.fields) do by_name[field.name] = field end
  local batch = setmetatable({ about = layout, by_name = by_name, records = records, n = n, closed = false }, Batch)
  for i = 1, n do
    if fill then
      fill(i - 1, function(name, value) batch:put(i, name, value) end)
    else
      for name, value in pairs(rows[i]) do
        if by_name[name] then batch:put(i, name, value) end
      end
    end
  end
  return batch
end

return fake
