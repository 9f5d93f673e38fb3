-- SPDX-License-Identifier: Apache-2.0
--
-- The lines of Lua that read one field of the record at `r`, for generated code (record.lua).
--
-- Integers become numbers: those of up to 53 bits as they are, wider ones after a check that they are exact.
-- Network order is swapped, times become seconds. Names are numbered by field, so that nothing of a layout's text
-- becomes code. A load for an element (of an array) finds it at `r` plus the field's offset too, but may assume
-- nothing of what lies around it.

local bit = require "bit"
local ffi = require "ffi"

local load = {}

local LARGEST = 9007199254740992 -- 2^53: above it a number is not exact
load.LARGEST = LARGEST

load.ctypes = {
  u16 = ffi.typeof("const uint16_t *"), u32 = ffi.typeof("const uint32_t *"), u64 = ffi.typeof("const uint64_t *"),
  i8 = ffi.typeof("const int8_t *"), i16 = ffi.typeof("const int16_t *"), i32 = ffi.typeof("const int32_t *"),
  i64 = ffi.typeof("const int64_t *"), f32 = ffi.typeof("const float *"), f64 = ffi.typeof("const double *"),
  int64 = ffi.typeof("int64_t"),
}

load.scratch = ffi.new("uint64_t[2]") -- where the bytes of a bitfield are put by themselves

local little = ffi.abi("le")
local UNSIGNED = { [2] = "u16", [4] = "u32", [8] = "u64" }
local SIGNED = { [1] = "i8", [2] = "i16", [4] = "i32", [8] = "i64" }

-- The number made of `size` bytes (at most 9) at p, without its lowest `shift` bits (fewer than 8).
function load.gather(p, size, shift)
  local value = 0ULL
  for i = math.min(size, 8) - 1, 0, -1 do value = value * 256 + p[i] end
  value = bit.rshift(value, shift)
  if size > 8 then value = bit.bor(value, bit.lshift(p[8] + 0ULL, 64 - shift)) end
  return value
end

local function at(ctype, offset)
  return ("cast(%s, r + %d)[0]"):format(ctype, offset)
end

-- Text of a number whose lowest bit of interest is number `shift`, and its width: 32 or 64 (cdata).
local function word_of(class, field, element)
  assert(little, "bitfields are read on little-endian machines only")
  local offset, size, low, bits = field.offset, field.size, field.bit, field.bits
  if element then return ("gather(r + %d, %d, %d)"):format(offset, size, low), 0, 64 end
  if size > 8 then
    return ("bor(rshift(%s, %d), lshift(r[%d] + 0ULL, %d))"):format(at("u64", offset), low, offset + 8, 64 - low), 0, 64
  end
  local from = math.min(offset, class.stride - 4) -- nothing beyond the record is touched
  local shift = (offset - from) * 8 + low
  if shift + bits <= 32 then return at("u32", from), shift, 32 end
  from = math.min(offset, class.stride - 8)
  return at("u64", from), (offset - from) * 8 + low, 64
end

-- `bits` ones, `low` zeros after them, as text of a 64-bit literal.
local function mask(bits, low)
  return "0x" .. bit.tohex(bit.lshift(bit.rshift(-1ULL, 64 - bits), low or 0)) .. "ULL"
end

-- Text of a bitfield's value, and of which type it is: "number", "u64" or "i64".
local function bits_of(class, field, element, signed)
  local word, shift, width = word_of(class, field, element)
  local bits = field.bits
  if signed then
    if width == 32 then
      return ("arshift(lshift(%s, %d), %d)"):format(word, 32 - shift - bits, 32 - bits), "number"
    end
    return ("cast(int64, arshift(lshift(%s, %d), %d))"):format(word, 64 - shift - bits, 64 - bits), "i64"
  end
  if shift > 0 then word = ("rshift(%s, %d)"):format(word, shift) end
  if width == 32 then
    return bits == 32 and word or ("band(%s, 0x%x)"):format(word, 2 ^ bits - 1), "number"
  end
  return bits == 64 and word or ("band(%s, %s)"):format(word, mask(bits)), "u64"
end

-- Text of an integer of at most 8 bytes, and its type.
local function integer_of(class, field, element)
  if field.bits then return bits_of(class, field, element, field.signed) end
  local size, offset = field.size, field.offset
  if field.kind == "be_uint" and little and size > 1 then
    local raw = at(UNSIGNED[size], offset)
    if size == 2 then return ("rshift(bswap(%s), 16)"):format(raw), "number" end
    if size == 4 then return ("bswap(%s) %% 4294967296"):format(raw), "number" end
    return ("bswap(%s)"):format(raw), "u64"
  end
  if field.signed then return at(SIGNED[size], offset), size == 8 and "i64" or "number" end
  if size == 1 then return ("r[%d]"):format(offset), "number" end
  return at(UNSIGNED[size], offset), size == 8 and "u64" or "number"
end

local BEYOND = {
  u64 = ("w > %dULL"):format(LARGEST),
  i64 = ("w > %dLL or w < -%dLL"):format(LARGEST, LARGEST),
  u128 = ("high ~= 0 or w > %dULL"):format(LARGEST),
  i128 = ("high ~= arshift(w, 63) or w > %dLL or w < -%dLL"):format(LARGEST, LARGEST),
}

local function checked(field, before, raw, beyond)
  local n = field.index
  return ("local v%d do %slocal w = %s if %s then inexact(%d) end v%d = tonumber(w) end\n")
    :format(n, before, raw, beyond, n, n)
end

-- A NaN from outside may have any payload, and LuaJIT would take one that is not its own for a value of another
-- type (a nil, a pointer to follow): it is told by its bits, and never read as a float.
local function float_of(field)
  local n, offset = field.index, field.offset
  local test, exponent, ctype = "h > 0x7f800000", offset, "f32"
  if field.size == 8 then
    test = ("h > 0x7ff00000 or h == 0x7ff00000 and %s ~= 0"):format(at("u32", offset))
    exponent, ctype = offset + 4, "f64"
  end
  return ("local v%d do local h = band(%s, 0x7fffffff) if %s then v%d = nan else v%d = %s end end\n")
    :format(n, at("u32", exponent), test, n, n, at(ctype, offset))
end

-- Reads a number or boolean into local v<index>.
function load.value(class, field, element)
  local n, kind, size = field.index, field.kind, field.size
  if kind == "float" then return float_of(field) end
  if size == 16 then
    local ctype = field.signed and "i64" or "u64"
    local high = ("local high = %s "):format(at(ctype, field.offset + 8))
    return checked(field, high, at(ctype, field.offset), BEYOND[field.signed and "i128" or "u128"])
  end
  local raw, form = integer_of(class, field, element)
  if kind == "bool" then return ("local v%d = %s ~= 0\n"):format(n, raw) end
  if kind == "time" then return ("local v%d = tonumber(%s) / 1e9\n"):format(n, raw) end
  if form == "number" then return ("local v%d = %s\n"):format(n, raw) end
  if field.bits and field.bits <= 53 then return ("local v%d = tonumber(%s)\n"):format(n, raw) end
  return checked(field, "", raw, BEYOND[form])
end

-- The loads of a list of fields, each once.
function load.values(class, fields)
  local lines, done = {}, {}
  for _, field in ipairs(fields) do
    if not done[field] then lines[#lines + 1] = load.value(class, field) end
    done[field] = true
  end
  return table.concat(lines)
end

-- Text of an unsigned integer of 64 bits as it is, or nil for fields that are something else.
function load.unsigned(class, field)
  if field.size ~= 8 or field.bits or field.signed then return nil end
  if field.kind ~= "uint" and field.kind ~= "be_uint" then return nil end
  return (integer_of(class, field))
end

-- Whether the elements of an array lie one after the other.
local function is_dense(field)
  local stride = field.size
  for i = #field.dims, 1, -1 do
    if field.dims[i].stride ~= stride then return false end
    stride = stride * field.dims[i].count
  end
  return not field.bits
end

-- The bytes of a bitfield with nothing but its own bits, as text of what goes into scratch[0] and, after it, [1].
-- (Masked where they lie: LuaJIT 2.1.0-beta3 compiles a shift of a 64-bit `band` wrongly.)
local function own_bits(class, field)
  assert(little, "bitfields are read on little-endian machines only")
  local offset, low, bits = field.offset, field.bit, field.bits
  local from = math.min(offset, class.stride - 8)
  local word = at("u64", from)
  if from < offset then word = ("rshift(%s, %d)"):format(word, (offset - from) * 8) end
  local lowest = ("band(%s, %s)"):format(word, mask(bits, low))
  if field.size <= 8 then return lowest end
  return ("%s scratch[1] = band(r[%d], %d)"):format(lowest, offset + 8, 2 ^ (low + bits - 64) - 1)
end

-- What makes a field equal to another: lines, and text of a string. For most it is their bytes as they lie; of text,
-- those up to the NUL; of a bitfield, its own bits where they lie and zeros. nil for a list that lies scattered.
function load.raw(class, field)
  local n, offset, size = field.index, field.offset, field.size
  if field.list then
    if not is_dense(field) then return nil end
    return "", ("str(r + %d, %d)"):format(offset, size * field.count)
  end
  if field.kind == "text" then
    local cut = ('do local z = find(t%d, "\\0", 1, true) if z then t%d = sub(t%d, 1, z - 1) end end\n'):format(n, n, n)
    return ("local t%d = str(r + %d, %d) "):format(n, offset, size) .. cut, "t" .. n
  end
  if field.bits then
    return ("scratch[0] = %s local t%d = str(scratch, %d)\n"):format(own_bits(class, field), n, size), "t" .. n
  end
  return "", ("str(r + %d, %d)"):format(offset, size)
end

-- The same where a small number will do: "v<index>" then, of a field that has to be loaded (true).
function load.identity(class, field)
  local plain = field.numeric and field.kind ~= "float" and field.kind ~= "time"
  if plain and (field.bits or field.size * 8) <= 32 then return "", "v" .. field.index, true end
  return load.raw(class, field)
end

-- The number that these raw bytes of an integer field stand for.
function load.number(field, raw)
  local value, from, to = 0, 1, #raw
  if not little then from, to = to, from end
  for i = to, from, little and -1 or 1 do value = value * 256 + raw:byte(i) end
  local bits = field.bits or field.size * 8
  if field.bits then value = math.floor(value / 2 ^ field.bit) % 2 ^ bits end
  if field.signed and value >= 2 ^ (bits - 1) then value = value - 2 ^ bits end
  return value
end

return load
