-- SPDX-License-Identifier: Apache-2.0
--
-- What the records of one layout look like to Lua: a class per layout, from which view, shape and expression
-- generate their loops.
--
-- A layout is what batch:layout() gives. The class knows the LuaJIT struct behind it and writes, for any
-- scalar field, the lines of Lua that load it from `p[i]`: small integers as they are, 64-bit ones as
-- numbers after a check that they are exact, network order swapped, times in seconds.

local bit = require "bit"
local ffi = require "ffi"
local words = require "perilune.words"

local record = {}

local LARGEST = 9007199254740992 -- 2^53: above it a number is not exact
local NUMERIC = { uint = true, int = true, be_uint = true, time = true, protocol = true, ifindex = true }
local TEXTUAL = { address = true, ipv4 = true, text = true, bytes = true, enum = true }
local MOST_CODE = 256 -- generated functions kept per class

local bytes_pointer = ffi.typeof("const uint8_t *")
local words_pointer = ffi.typeof("const uint32_t *")
local little = ffi.abi("le")
local classes = {}

-- The struct's own field, if it lies where the layout says; otherwise only its bytes can be had.
local function kind_of(ctype, field)
  if (NUMERIC[field.kind] or field.kind == "bool" or field.kind == "enum")
    and ffi.offsetof(ctype, "f" .. field.index) ~= field.offset then
    return "bytes"
  end
  return field.kind
end

-- A struct with every scalar at its place.
local function cdef(layout)
  local parts, at = { ("struct __attribute__((packed)) perilune_%s {"):format(layout.hash) }, 0
  for _, f in ipairs(layout.fields) do
    local length = f.size
    for _, dim in ipairs(f.dims or {}) do length = math.max(length, dim.count * dim.stride) end
    if f.offset >= at then
      if f.offset > at then parts[#parts + 1] = ("uint8_t p%d[%d];"):format(at, f.offset - at) end
      local bytes = TEXTUAL[f.kind] and f.kind ~= "enum" or f.bits or f.size > 8 or f.kind == "float" or f.kind == "pointer"
      if bytes or (f.dims and f.dims[1].stride ~= f.size) then
        parts[#parts + 1] = ("uint8_t f%d[%d];"):format(f.index, length)
      else
        parts[#parts + 1] = ("%sint%d_t f%d%s;"):format(f.signed and "" or "u", f.size * 8, f.index,
          f.dims and ("[%d]"):format(f.count) or "")
      end
      at = f.offset + length
    end
  end
  if at < layout.stride then parts[#parts + 1] = ("uint8_t p%d[%d];"):format(at, layout.stride - at) end
  return table.concat(parts, " ") .. " };"
end

local function new_class(layout)
  ffi.cdef(cdef(layout))
  local ctype = ffi.typeof("struct perilune_" .. layout.hash)
  assert(ffi.sizeof(ctype) == layout.stride, "the records' struct has another size than the records")
  local class = {
    hash = layout.hash, stride = layout.stride, fields = {}, by_name = {}, names = {},
    pointer = ffi.typeof("const struct perilune_" .. layout.hash .. " *"), code = {}, kept = 0,
  }
  for i, f in ipairs(layout.fields) do
    local kind = kind_of(ctype, f)
    local field = {
      name = f.name, kind = kind, index = f.index, offset = f.offset, size = f.size, count = f.count,
      key = f.key, signed = f.signed,
      numeric = NUMERIC[kind] and f.count == 1, textual = TEXTUAL[kind] and f.count == 1,
    }
    class.fields[i], class.names[i], class.by_name[f.name] = field, f.name, field
  end
  return class
end

-- The class of a layout. There is one per hash, since LuaJIT never forgets a C type.
function record.class(layout)
  local class = classes[layout.hash]
  if not class then
    class = new_class(layout)
    classes[layout.hash] = class
  end
  return class
end

-- Pointers to the records, for p[i].f<n> and for bytes.
function record.pointers(class, address)
  return ffi.cast(class.pointer, address), ffi.cast(bytes_pointer, address)
end

-- The field of this name, or an error that names the nearest; `level` as error() counts it from the caller.
function record.field(class, name, level)
  local field = class.by_name[name]
  if field then return field end
  error(('there is no field "%s" (%s)'):format(tostring(name), words.suggest(name, class.names)), level + 1)
end

-- As record.field, and it must be a number.
function record.number(class, name, level)
  local field = record.field(class, name, level + 1)
  if field.numeric then return field end
  error(('"%s" is not a number but %s'):format(name, record.describe(field)), level + 1)
end

local DESCRIBED = {
  protocol = "a number", ifindex = "a number", ipv4 = "an address", uint = "a number", int = "a number", be_uint = "a number", time = "a time", bool = "true or false",
  enum = "a name", address = "an address", text = "text", bytes = "bytes",
}

function record.describe(field)
  if field.count > 1 then return "a list of " .. field.count end
  return DESCRIBED[field.kind]
end

-- Reads element `at` (Lua text, "" for a scalar) of a field of p[i] into local v<n>.
function record.load(field, at)
  local n, kind, size = field.index, field.kind, field.size
  local raw = ("p[i].f%d%s"):format(n, at or "")
  if kind == "bool" then return ("local v%d = %s ~= 0\n"):format(n, raw) end
  if kind == "time" then return ("local v%d = tonumber(%s) / 1e9\n"):format(n, raw) end
  if kind == "be_uint" and little then
    if size == 2 then raw = ("rshift(bswap(%s), 16)"):format(raw) end
    if size == 4 then raw = ("bswap(%s) %% 4294967296"):format(raw) end
    if size == 8 then raw = ("bswap(%s)"):format(raw) end
  end
  if size < 8 then return ("local v%d = %s\n"):format(n, raw) end
  local signed = kind == "int" or kind == "enum" and field.signed
  local bad = signed and ("w%d > %dLL or w%d < -%dLL"):format(n, LARGEST, n, LARGEST)
    or ("w%d > %dULL"):format(n, LARGEST)
  return ("local w%d = %s if %s then inexact(%d) end local v%d = tonumber(w%d)\n")
    :format(n, raw, bad, n, n, n)
end

-- The loads of a set of fields, each once.
function record.loads(fields)
  local lines, done = {}, {}
  for _, field in ipairs(fields) do
    if not done[field] then lines[#lines + 1] = record.load(field) end
    done[field] = true
  end
  return table.concat(lines)
end

-- An expression for the raw bytes of a field of record i.
function record.bytes(class, field)
  return ("str(q + (i * %d + %d), %d)"):format(class.stride, field.offset, field.size * field.count)
end

-- What generated code calls on a number that is not exact. `level` leads to whoever called the verb.
local function inexact_in(class, level)
  return function(index)
    error(('"%s" is beyond 2^53 here, where a number is no longer exact (look at it in the JSON output)')
      :format(class.fields[index + 1].name), level)
  end
end

local DEEPER = { get = true, sum = true, min = true, max = true } -- these have one function more between

local HEAD = "local tonumber, str, cast, bswap, rshift, inexact, words = ...\n"

-- Compiles generated text once per class. It sees the locals that the other functions here write.
function record.generate(class, key, make)
  local made = class.code[key]
  if made then return made end
  if class.kept >= MOST_CODE then class.code, class.kept = {}, 0 end
  local what = key:match("^%w+")
  local chunk = assert(loadstring(HEAD .. make(), "=perilune." .. what))
  made = chunk(tonumber, ffi.string, ffi.cast, bit.bswap, bit.rshift,
    inexact_in(class, DEEPER[what] and 5 or 4), words_pointer)
  class.code[key], class.kept = made, class.kept + 1
  return made
end

-- The head of a loop over all records or (sparse) over a choice of them, from `from` on. Gives local k, the
-- place, and i, the number of the record.
function record.loop(sparse, from)
  return ("for k = %s, n - 1 do local i = %s\n"):format(from or "0", sparse and "ids[k]" or "k")
end

record.LARGEST = LARGEST

return record
