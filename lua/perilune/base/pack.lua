-- SPDX-License-Identifier: Apache-2.0
--
-- Plain values as text and back: what is kept over runs (store.lua) and what travels between processes (calls.lua).
--
--   pack.encode(value [, most]) → text | nil, message      most: bytes it may take
--   pack.decode(text)           → value | nil, message
--   pack.seal(kind, version, value)     → text that says what it is and whether it is whole
--   pack.unseal(kind, version, text)    → value | nil, message
--
-- Plain are numbers, texts, true, false, and tables of them with texts or numbers as keys, that hold no table within
-- itself. Equal values have equal texts. A text is read, never run:
--
--   T F  #1.5;  5:bytes  [ value … ] (a list)  { key value … } (sorted: numbers first)

local bit = require "bit"
local ffi = require "ffi"

local pack = {}

local DEEPEST = 32

local function by_key(a, b)
  if type(a) == type(b) then return a < b end
  return type(a) == "number"
end

local function fail(message, ...) error({ message = message:format(...) }, 0) end

local Writer = {}
Writer.__index = Writer

function Writer:put(text)
  self.size = self.size + #text
  if self.size > self.most then fail("it takes more than %d bytes", self.most) end
  self.n = self.n + 1
  self.parts[self.n] = text
end

-- Whole numbers as they are read best; of others, all 53 bits.
local function number(value)
  if value ~= value then return "#nan;" end
  if value == math.floor(value) and value > -1e15 and value < 1e15 then return ("#%.0f;"):format(value) end
  return ("#%.17g;"):format(value)
end

local function keys_of(value)
  local keys = {}
  for key in pairs(value) do
    if type(key) ~= "string" and (type(key) ~= "number" or key ~= key) then
      fail("a key is a %s", type(key) == "number" and "nan" or type(key))
    end
    keys[#keys + 1] = key
  end
  return keys
end

function Writer:table(value, depth)
  if depth > DEEPEST then fail("it is nested more than %d deep", DEEPEST) end
  if getmetatable(value) ~= nil then fail "a table in it is no plain table" end
  if self.open[value] then fail "a table in it holds itself" end
  self.open[value] = true
  local keys, length = keys_of(value), #value
  if #keys == length then
    self:put "["
    for i = 1, length do self:value(value[i], depth) end
    self:put "]"
  else
    table.sort(keys, by_key)
    self:put "{"
    for _, key in ipairs(keys) do
      self:value(key, depth)
      self:value(value[key], depth)
    end
    self:put "}"
  end
  self.open[value] = nil
end

function Writer:value(value, depth)
  local kind = type(value)
  if kind == "number" then
    self:put(number(value))
  elseif kind == "string" then
    self:put(#value .. ":")
    self:put(value)
  elseif kind == "boolean" then
    self:put(value and "T" or "F")
  elseif kind == "table" then
    self:table(value, depth + 1)
  else
    fail("it holds a %s", kind)
  end
end

local function guarded(fn)
  local ok, result = pcall(fn)
  if ok then return result end
  if type(result) ~= "table" then error(result, 0) end
  return nil, result.message
end

function pack.encode(value, most)
  local writer = setmetatable({ parts = {}, n = 0, size = 0, most = most or math.huge, open = {} }, Writer)
  return guarded(function()
    writer:value(value, 0)
    return table.concat(writer.parts)
  end)
end

local read

local function read_list(text, at, depth)
  local list, n = {}, 0
  while text:sub(at, at) ~= "]" do
    n = n + 1
    list[n], at = read(text, at, depth)
  end
  return list, at + 1
end

local function read_map(text, at, depth)
  local map = {}
  while text:sub(at, at) ~= "}" do
    local key
    key, at = read(text, at, depth)
    if type(key) == "table" or type(key) == "boolean" or key ~= key then fail("a key is a %s", type(key)) end
    map[key], at = read(text, at, depth)
  end
  return map, at + 1
end

local function read_number(text, at)
  local digits, after = text:match("^([%w.+-]+);()", at + 1)
  local value = digits and tonumber(digits)
  if not value then fail("no number at byte %d", at) end
  return value, after
end

local function read_text(text, at)
  local length, from = text:match("^(%d+):()", at)
  local to = length and from + tonumber(length) - 1
  if not to or to > #text then fail("no value at byte %d", at) end
  return text:sub(from, to), to + 1
end

function read(text, at, depth)
  if depth > DEEPEST + 1 then fail("it is nested more than %d deep", DEEPEST) end
  local first = text:sub(at, at)
  if first == "#" then return read_number(text, at) end
  if first == "T" or first == "F" then return first == "T", at + 1 end
  if first == "[" then return read_list(text, at + 1, depth + 1) end
  if first == "{" then return read_map(text, at + 1, depth + 1) end
  return read_text(text, at)
end

function pack.decode(text)
  return guarded(function()
    local value, after = read(text, 1, 0)
    if after ~= #text + 1 then fail("something follows at byte %d", after) end
    return value
  end)
end

-- CRC-32 as in ISO 3309 (zlib's).
local crc_table = ffi.new "uint32_t[256]"
for i = 0, 255 do
  local c = i
  for _ = 1, 8 do
    c = bit.bxor(bit.rshift(c, 1), bit.band(c, 1) == 1 and 0xedb88320 or 0)
  end
  crc_table[i] = c % 2 ^ 32
end

local function crc(text)
  local bytes, c = ffi.cast("const uint8_t *", text), bit.tobit(0xffffffff)
  for i = 0, #text - 1 do
    c = bit.bxor(bit.rshift(c, 8), bit.tobit(crc_table[bit.band(bit.bxor(c, bytes[i]), 255)]))
  end
  return bit.tohex(bit.bnot(c))
end
pack.crc = crc

function pack.seal(kind, version, value)
  local text, message = pack.encode(value)
  if not text then return nil, message end
  return ("perilune %s %d %s %d\n%s"):format(kind, version, crc(text), #text, text)
end

function pack.unseal(kind, version, sealed)
  local its_kind, its_version, sum, length, from = sealed:match "^perilune ([%w_-]+) (%d+) (%x+) (%d+)\n()"
  if not from then return nil, "it is not of perilune's making" end
  if its_kind ~= kind then return nil, ("it holds %s, not %s"):format(its_kind, kind) end
  if tonumber(its_version) ~= version then
    return nil, ("its format is version %s, not %d"):format(its_version, version)
  end
  local text = sealed:sub(from)
  if #text ~= tonumber(length) or crc(text) ~= sum then return nil, "it is damaged" end
  return pack.decode(text)
end

return pack
