-- SPDX-License-Identifier: Apache-2.0
--
-- What a condition (expression.lua) does with the fields of a record: which there are, how they are loaded, and how
-- two things are compared, as text for the loops.
--
-- A class may be that of plain rows (list_where.lua; `plain` is set): then values are compared as they are.

local load = require "perilune.records.load"
local record = require "perilune.records.record"
local words = require "perilune.base.words"

local comparison = {}

local MOST_LOCALS, MOST_WORDS = 120, 16

local little = require("ffi").abi "le"

local function fail(message, ...) error({ message = message:format(...) }, 0) end

-- What a condition needs: the fields to load, and the constants that are given at the time of the call.
function comparison.new_scope(class)
  return { class = class, fields = {}, raws = {}, constants = {}, locals = 0 }
end

local function use_locals(scope, n)
  scope.locals = scope.locals + n
  if scope.locals > MOST_LOCALS then fail("it is too long") end
end

function comparison.field_of(scope, name)
  local field = scope.class.by_name[name]
  if not field then fail('there is no field "%s" (%s)', name, words.suggest(name, scope.class.names)) end
  if field.list then fail('"%s" is a list', name) end
  return field
end

local function load_field(scope, field)
  if not scope.fields[field] then
    use_locals(scope, 1)
    scope.fields[field] = true
    scope.fields[#scope.fields + 1] = field
  end
  return "v" .. field.index
end

-- A value that is known only at the call, or { field =, text =, … } for one made of a text's raw bytes.
local function constant(scope, value)
  use_locals(scope, 1)
  scope.constants[#scope.constants + 1] = type(value) == "table" and value or { value = value }
  return "c" .. #scope.constants
end

-- Whether texts name numbers of this field, so that a number is compared.
local function is_named(field)
  local kind = field.kind
  return kind == "protocol" or kind == "flags" or kind == "ifindex" or (kind == "enum" and field.bits ~= nil)
end

-- How many bytes decide whether a field equals this text: of char[n] all up to the NUL.
local function significant(field, text)
  return field.kind == "text" and math.min(#text + 1, field.size) or field.size
end

-- Comparison with a text: of plain values or numbers, else byte-wise with its raw form, four bytes at a time.
local function equals_text(scope, field, text)
  if scope.class.plain then
    return ("(%s == %s)"):format(load_field(scope, field), constant(scope, text))
  end
  if is_named(field) then
    local c = constant(scope, { field = field, text = text, number = true })
    return ("(%s == %s)"):format(load_field(scope, field), c)
  end
  local at, length, parts = field.offset, significant(field, text), {}
  if length > MOST_WORDS * 4 then
    local c = constant(scope, { field = field, text = text, upto = length })
    return ("(str(r + %d, %d) == %s)"):format(at, length, c)
  end
  for from = 0, length - 1, 4 do
    local whole = length - from >= 4
    for byte = from, whole and from or length - 1 do
      local c = constant(scope, { field = field, text = text, from = byte, bytes = whole and 4 or 1 })
      parts[#parts + 1] = (whole and "cast(u32, r + %d)[0] == %s" or "r[%d] == %s"):format(at + byte, c)
    end
  end
  return "(" .. table.concat(parts, " and ") .. ")"
end

-- Comparison of two fields, as far as raw bytes can tell.
local function equals_field(scope, a, b)
  if scope.class.plain then
    return ("(%s == %s)"):format(load_field(scope, a), load_field(scope, b))
  end
  if a.kind ~= b.kind or a.size ~= b.size or a.bits or b.bits then
    fail('"%s" and "%s" cannot be compared', a.name, b.name)
  end
  for _, field in ipairs { a, b } do
    if not scope.raws[field] then
      scope.raws[field] = true
      use_locals(scope, 1)
      scope.raws[#scope.raws + 1] = field
    end
  end
  local _, left = load.raw(scope.class, a)
  local _, right = load.raw(scope.class, b)
  return ("(%s == %s)"):format(left, right)
end

-- A protocol, flags, an interface or a bitfield's enum compared with a name; nil when it is something else.
local function compare_name(scope, left, right)
  if left.kind == "text" then left, right = right, left end
  if left.kind == "number" and right.kind == "text" and left.field and is_named(left.field) then
    return equals_text(scope, left.field, right.text)
  end
end

local function equality_only(value, operator)
  if operator ~= "==" and operator ~= "~=" then fail("%s can only be compared with == and ~=", value.shown) end
end

function comparison.compare(scope, left, operator, right)
  local code = compare_name(scope, left, right)
  if code then
    equality_only(left, operator)
    return operator == "~=" and "(not " .. code .. ")" or code
  end
  if right.kind == "raw" and left.kind ~= "raw" then left, right = right, left end
  if left.kind == "raw" then
    equality_only(left, operator)
    if right.kind == "raw" then
      code = equals_field(scope, left.field, right.field)
    elseif right.kind == "text" then
      code = equals_text(scope, left.field, right.text)
    elseif right.kind == "number" and (left.field.kind == "enum" or left.field.mixed) then
      code = ("(%s == %s)"):format(load_field(scope, left.field), right.code)
    else
      fail("%s is %s and %s is not", left.shown, record.describe(left.field), right.shown)
    end
    return operator == "~=" and "(not " .. code .. ")" or code
  end
  if left.kind == "text" or right.kind == "text" or left.kind ~= right.kind then
    fail("%s and %s cannot be compared", left.shown, right.shown)
  end
  if left.kind == "boolean" then equality_only(left, operator) end
  return ("(%s %s %s)"):format(left.code, operator, right.code)
end

local function word_of(bytes, from, count)
  local value = 0
  for n = count, 1, -1 do
    value = value * 256 + bytes:byte(from + (little and n or count + 1 - n))
  end
  return value
end

local function constant_of(c, bytes)
  if c.number then return load.number(c.field, bytes) end
  if c.upto then return bytes:sub(1, c.upto) end
  return word_of(bytes, c.from, c.bytes)
end

-- The values of the constants, as the generated code takes them | nil, message. raw(field, text) → bytes
-- or nil.
function comparison.constants(compiled, raw)
  local values, known = {}, {}
  for i, c in ipairs(compiled.constants) do
    if c.field then
      local id = c.field.index .. " " .. c.text
      known[id] = known[id] or raw(c.field, c.text)
      local bytes = known[id]
      if not bytes then
        return nil, ('"%s" cannot be "%s" (it is %s)'):format(c.field.name, c.text, record.describe(c.field))
      end
      values[i] = constant_of(c, bytes)
    else
      values[i] = c.value
    end
  end
  return values
end

comparison.fail, comparison.load_field, comparison.constant = fail, load_field, constant
comparison.is_named, comparison.equals_text = is_named, equals_text

return comparison
