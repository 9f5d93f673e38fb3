-- SPDX-License-Identifier: Apache-2.0
--
-- JSON as the service speaks it: the same value is the same text every time, and what comes from outside is bounded.
--
--   json.encode { b = 1, a = json.array {} }   → {"a":[],"b":1}       keys sorted; nil values are left out
--   json.encode(json.object { { "b", 1 }, { "a", 2 } })               keys in this order
--   json.raw(text)                             JSON text that goes in as it is
--   json.decode(text)                          → value | nil, message: objects and arrays as tables, null as json.null
--
-- A table whose keys are 1 … n is an array; an empty one is an object, unless made by json.array.
local cjson = require "cjson"
local format = require "perilune.base.format"

local json = { null = cjson.null }

local DEEPEST = 32
local EXACT = 2 ^ 53
local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local Array, Object, Raw = {}, {}, {}

function json.array(list) return setmetatable(list, Array) end

function json.object(pairs_) return setmetatable(pairs_, Object) end

function json.raw(text) return setmetatable({ text = text }, Raw) end

function json.quote(text)
  return '"' .. format.utf8(text):gsub('[%c"\\]', function(c)
    return ESCAPES[c] or ("\\u%04x"):format(c:byte())
  end) .. '"'
end

-- null for what JSON has no number for.
local function number(value)
  if value ~= value or value == math.huge or value == -math.huge then return "null" end
  if value == math.floor(value) and math.abs(value) <= EXACT then return ("%.0f"):format(value) end
  return (("%.15g"):format(value):gsub(",", "."))
end

local encode

local function array(list)
  local out = {}
  for i, item in ipairs(list) do out[i] = encode(item) end
  return "[" .. table.concat(out, ",") .. "]"
end

local function object(value)
  local keys, out = {}, {}
  for key in pairs(value) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  for i, key in ipairs(keys) do out[i] = json.quote(key) .. ":" .. encode(value[key]) end
  return "{" .. table.concat(out, ",") .. "}"
end

local function ordered(list)
  local out = {}
  for _, pair in ipairs(list) do
    if pair[2] ~= nil then out[#out + 1] = json.quote(pair[1]) .. ":" .. encode(pair[2]) end
  end
  return "{" .. table.concat(out, ",") .. "}"
end

function encode(value)
  local kind = type(value)
  if kind == "string" then return json.quote(value) end
  if kind == "number" then return number(value) end
  if kind == "boolean" then return tostring(value) end
  if value == cjson.null or value == nil then return "null" end
  if kind ~= "table" then error("json: a " .. kind .. " has no JSON", 2) end
  local meta = getmetatable(value)
  if meta == Raw then return value.text end
  if meta == Object then return ordered(value) end
  return (meta == Array or #value > 0) and array(value) or object(value)
end

json.encode = encode

local decoder = cjson.new()
decoder.decode_max_depth(DEEPEST)
decoder.decode_invalid_numbers(false)

-- 1e999 is read as infinity.
local function finite(value)
  if type(value) == "number" then return value == value and math.abs(value) < math.huge end
  if type(value) ~= "table" then return true end
  for _, item in pairs(value) do
    if not finite(item) then return false end
  end
  return true
end

function json.decode(text)
  local ok, value = pcall(decoder.decode, text)
  if not ok then return nil, (tostring(value):gsub("^.-:%d+: ", "")) end
  if not finite(value) then return nil, "a number is too large" end
  return value
end

return json
