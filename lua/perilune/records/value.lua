-- SPDX-License-Identifier: Apache-2.0
--
-- One field of one record as a Lua value:
--
--   integers, floats, protocols, interfaces   numbers (exact to 2^53, an error beyond)
--   flags                                     numbers, for bit.band
--   times                                     seconds since the epoch
--   enums                                     names where the value has one, numbers otherwise
--   addresses, text, bytes, pointers          text, as the runtime writes it
--   arrays of any of these                    lists in lists, outermost first

local ffi = require "ffi"
local load = require "perilune.records.load"
local record = require "perilune.records.record"

local value = {}

local MOST_KNOWN = 4096 -- values of an enum remembered

-- A generated function (r) → value of a scalar, or of the element at `r`, that is a number or boolean.
local function getter(class, field, element)
  return record.generate(class, (element and "element " or "get ") .. field.index, function()
    return ("return function(r) %s return v%d end"):format(load.value(class, field, element), field.index)
  end)
end

-- The text of an enum's value: a name, or a number if that is exact.
local function name_or_number(field, text)
  if not text or not text:find("^%-?%d+$") then return text end
  local number = tonumber(text)
  if ("%.0f"):format(number) ~= text or math.abs(number) > record.LARGEST then record.inexact(field) end
  return number
end

local function enum_value(inner, field, i)
  if (field.bits or field.size * 8) > 32 then return name_or_number(field, inner.batch:text(field.index, i + 1)) end
  local number = getter(inner.class, field)(inner.q + i * inner.class.stride)
  local known = field.known[number]
  if known == nil then
    known = name_or_number(field, inner.batch:text(field.index, i + 1))
    if field.nknown < MOST_KNOWN then field.known[number], field.nknown = known, field.nknown + 1 end
  end
  return known
end

-- A function (e, offset) → element number e (from 0), which lies `offset` bytes behind the first.
local function element_getter(inner, field, i)
  local batch, kind = inner.batch, field.kind
  if kind == "enum" then
    return function(e) return name_or_number(field, batch:element_text(field.index, i + 1, e)) end
  end
  if value.is_text(field) then return function(e) return (batch:element_text(field.index, i + 1, e)) end end
  local get, r = getter(inner.class, field, true), inner.q + i * inner.class.stride
  return function(_, offset) return get(r + offset) end
end

local function nested(dims, get)
  local e = 0
  local function walk(depth, offset)
    local dim, out = dims[depth], {}
    for j = 0, dim.count - 1 do
      local from = offset + j * dim.stride
      if depth < #dims then
        out[j + 1] = walk(depth + 1, from)
      else
        out[j + 1] = get(e, from)
        e = e + 1
      end
    end
    return out
  end
  return walk(1, 0)
end

local TEXT = { address = true, ipv4 = true, text = true, bytes = true, pointer = true }

-- Whether a field's elements are text in Lua, whatever they hold.
function value.is_text(field) return TEXT[field.kind] or false end

-- The value of a field of record i (from 0).
function value.get(inner, field, i)
  if field.list then return nested(field.dims, element_getter(inner, field, i)) end
  if TEXT[field.kind] then return (inner.batch:text(field.index, i + 1)) end
  if field.kind == "enum" then return enum_value(inner, field, i) end
  return (getter(inner.class, field)(inner.q + i * inner.class.stride))
end

local words64 = ffi.typeof("uint64_t[1]")

-- The raw bytes that a text stands for, or nil.
function value.raw(inner, field, text)
  if field.kind ~= "pointer" or field.list then return (inner.batch:raw(field.index, text)) end
  local digits = text:match "^0[xX](%x+)$"
  if not digits or #digits > 16 then return nil end
  local high, low = tonumber(digits:sub(1, -9), 16) or 0, tonumber(digits:sub(-8), 16)
  return ffi.string(words64(high * 4294967296ULL + low), 8)
end

return value
