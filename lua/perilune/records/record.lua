-- SPDX-License-Identifier: Apache-2.0
--
-- What the records of one layout look like to Lua: a class per layout, for which view, shape and expression
-- generate their functions.
--
-- A layout is what batch:layout() gives. No C type is made of it (LuaJIT never forgets one): generated code
-- has a byte pointer `r` to the record and reads fields through typed pointers (load.lua).

local bit = require "bit"
local ffi = require "ffi"
local blame = require "perilune.base.blame"
local load = require "perilune.records.load"
local words = require "perilune.base.words"

local record = {}

local NUMERIC = {
  uint = true, int = true, be_uint = true, float = true, protocol = true, flags = true, ifindex = true,
  time = true,
}
local TEXTUAL = { address = true, ipv4 = true, text = true, bytes = true, enum = true, pointer = true }
local COUNTERS = { uint = true, int = true, be_uint = true, float = true } -- what delta compares by default
local MOST_CODE = 256 -- generated functions kept per class
local MOST_CLASSES = 1024
local ELEMENTS = 65536 -- more than any record has fields: an element's index is its field's plus a multiple of this

local bytes_pointer = ffi.typeof("const uint8_t *")
local classes, kept_classes = {}, 0

local function new_class(layout)
  local class = {
    hash = layout.hash, stride = layout.stride, fields = {}, by_name = {}, names = {}, keys = {}, counters = {},
    enums = {}, code = {}, kept = 0,
  }
  for i, f in ipairs(layout.fields) do
    local list = f.dims ~= nil
    local field = {
      name = f.name, kind = f.kind, index = f.index, offset = f.offset, size = f.size, bit = f.bit, bits = f.bits,
      count = f.count, dims = f.dims, list = list, key = f.key, signed = f.kind == "int" or f.signed or false,
      numeric = not list and NUMERIC[f.kind] or false, textual = not list and TEXTUAL[f.kind] or false,
      known = {}, nknown = 0, -- of an enum: number → name or number, as seen so far
    }
    class.fields[i], class.names[i], class.by_name[f.name] = field, f.name, field
    class.enums[f.name] = f.kind == "enum" and not list or nil
    if f.key then
      class.keys[#class.keys + 1] = field
    elseif field.numeric and COUNTERS[field.kind] then
      class.counters[#class.counters + 1] = field
    end
  end
  return class
end

-- The class of a layout: one per hash, so that what is generated for one window serves the next.
function record.class(layout)
  local class = classes[layout.hash]
  if not class then
    if kept_classes >= MOST_CLASSES then classes, kept_classes = {}, 0 end
    class = new_class(layout)
    classes[layout.hash], kept_classes = class, kept_classes + 1
  end
  return class
end

-- The records' address as generated code takes it.
function record.pointer(address)
  return ffi.cast(bytes_pointer, address)
end

-- The field of this name, or an error that names the nearest.
function record.field(class, name)
  local field = class.by_name[name]
  if field then return field end
  blame.fail('there is no field "%s" (%s)', tostring(name), words.suggest(name, class.names))
end

-- As record.field, and it must be a number.
function record.number(class, name)
  local field = record.field(class, name)
  if field.numeric then return field end
  blame.fail('"%s" is not a number but %s', name, record.describe(field))
end

local DESCRIBED = {
  uint = "a number", int = "a number", be_uint = "a number", float = "a number", protocol = "a protocol",
  flags = "flags", ifindex = "an interface", time = "a time", bool = "true or false", enum = "a name",
  address = "an address", ipv4 = "an address", pointer = "an address in memory", text = "text", bytes = "bytes",
}

function record.describe(field)
  if field.list then return "a list of " .. field.count end
  return DESCRIBED[field.kind]
end

-- Whether a number may fall as well as grow.
function record.is_gauge(field) return field.signed or field.kind == "float" end

-- Element j (from 0) of a list of numbers with one dimension, as a field of its own for generated code; nil when it
-- is something else.
function record.element(field, j)
  if not field.list or #field.dims ~= 1 or field.bits or not NUMERIC[field.kind] then return nil end
  return {
    name = field.name, kind = field.kind, index = field.index + ELEMENTS * (j + 1), numeric = true, count = 1,
    offset = field.offset + j * field.dims[1].stride, size = field.size, signed = field.signed,
  }
end

-- For numbers that a double cannot hold.
function record.inexact(field)
  blame.fail('"%s" is beyond 2^53 here, where a number is no longer exact (look at it in the JSON output)', field.name)
end

-- What generated code sees, besides its arguments.
local PROVIDED = {
  tonumber = tonumber, str = ffi.string, find = string.find, sub = string.sub, cast = ffi.cast, bswap = bit.bswap,
  rshift = bit.rshift, lshift = bit.lshift, arshift = bit.arshift, band = bit.band, bor = bit.bor, abs = math.abs,
  log = math.log, nan = 0 / 0, gather = load.gather, scratch = load.scratch,
}
for name, ctype in pairs(load.ctypes) do PROVIDED[name] = ctype end

local provided_names = words.keys(PROVIDED)
local provided_values = {}
for i, name in ipairs(provided_names) do provided_values[i] = PROVIDED[name] end

local HEAD = "local inexact, " .. table.concat(provided_names, ", ") .. " = ...\n"

-- Compiles the text that make() gives, a chunk that returns a function, once per class and key.
function record.generate(class, key, make)
  local made = class.code[key]
  if made then return made end
  if class.kept >= MOST_CODE then class.code, class.kept = {}, 0 end
  local chunk = assert(loadstring(HEAD .. make(), "=perilune." .. key:match("^%w+")))
  made = chunk(function(index) record.inexact(class.fields[index % ELEMENTS + 1]) end, unpack(provided_values))
  class.code[key], class.kept = made, class.kept + 1
  return made
end

-- The head of a loop over all of n records or (sparse) over those whose numbers are in ids, from place `from`
-- on. Gives the locals k, the place, i, the number of the record, and r, a pointer to it. (Steps of bytes are what
-- LuaJIT compiles best; LL makes the product an integer's.)
function record.loop(class, sparse, from)
  local stride = class.stride
  if sparse then
    return ("for k = %s, n - 1 do local i = ids[k] local r = q + i * %dLL\n"):format(from or "0", stride)
  end
  if not from then
    return ("local k = -1 for o = 0, (n - 1) * %d, %d do k = k + 1 local i, r = k, q + o\n"):format(stride, stride)
  end
  return ("local k = %s - 1 for o = %s * %d, (n - 1) * %d, %d do k = k + 1 local i, r = k, q + o\n")
    :format(from, from, stride, stride, stride)
end

-- The same from the last to the first.
function record.loop_down(class, sparse)
  return ("for k = n - 1, 0, -1 do local i = %s local r = q + i * %dLL\n"):format(sparse and "ids[k]" or "k",
    class.stride)
end

record.LARGEST = load.LARGEST

return record
