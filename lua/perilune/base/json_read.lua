-- SPDX-License-Identifier: Apache-2.0
-- Reads JSON as RFC 8259 has it, strictly: one value and nothing after it. null becomes json_read.null, since a table
-- cannot hold nil; an object's name that is there twice is an error. Whoever writes the value again may have lists and
-- null as their writer knows them.
local json_read = {}

json_read.null = setmetatable({}, { __tostring = function() return "null" end })

local DEEPEST = 64
local ESCAPES = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
local LITERALS = { ["true"] = true, ["false"] = false, null = json_read.null }

local function fail(at, what) error({ at = at, what = what }, 0) end

local function utf8(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
  return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

-- The code point of a \u at `i` (after the u), and where it ends.
local function unicode(text, i)
  local hex = text:match("^%x%x%x%x", i)
  if not hex then fail(i, "four hexadecimal digits expected") end
  local code = tonumber(hex, 16)
  if code >= 0xD800 and code < 0xDC00 then
    local low = text:match("^\\u(%x%x%x%x)", i + 4)
    low = low and tonumber(low, 16)
    if not low or low < 0xDC00 or low > 0xDFFF then fail(i, "half of a surrogate pair") end
    return 0x10000 + (code - 0xD800) * 1024 + low - 0xDC00, i + 10
  end
  if code >= 0xDC00 and code < 0xE000 then fail(i, "half of a surrogate pair") end
  return code, i + 4
end

-- The text that begins after the quote at i - 1, and where it ends.
local function text_at(text, i)
  local plain = text:match('^[^"\\%c]*"', i)
  if plain then return plain:sub(1, -2), i + #plain end
  local out = {}
  while true do
    local part = text:match('^[^"\\%c]*', i)
    out[#out + 1] = part
    i = i + #part
    local char = text:sub(i, i)
    if char == '"' then return table.concat(out), i + 1 end
    if char == "\127" then -- a control character that JSON allows
      out[#out + 1], i = char, i + 1
    elseif char ~= "\\" then
      fail(i, char == "" and "the text does not end" or "a control character in a text")
    else
      local escape = text:sub(i + 1, i + 1)
      if escape == "u" then
        local code
        code, i = unicode(text, i + 2)
        out[#out + 1] = utf8(code)
      else
        out[#out + 1] = ESCAPES[escape] or fail(i, "an unknown escape")
        i = i + 2
      end
    end
  end
end

local function number_at(text, i)
  local whole = text:match("^-?%d+", i)
  if not whole or whole:find "^%-?0%d" then fail(i, "a value expected") end
  local fraction = text:match("^%.%d+", i + #whole) or ""
  local exponent = text:match("^[eE][+-]?%d+", i + #whole + #fraction) or ""
  local all = whole .. fraction .. exponent
  return tonumber(all), i + #all
end

local function skip(text, i) return text:find("[^ \t\r\n]", i) or #text + 1 end

local value_at

local make -- { list = function(table) → table, null = }, while a text is read

local function list_at(text, i, depth)
  local list = make.list({})
  i = skip(text, i)
  if text:sub(i, i) == "]" then return list, i + 1 end
  while true do
    list[#list + 1], i = value_at(text, i, depth)
    i = skip(text, i)
    local char = text:sub(i, i)
    if char == "]" then return list, i + 1 end
    if char ~= "," then fail(i, "',' or ']' expected") end
    i = skip(text, i + 1)
  end
end

local function object_at(text, i, depth)
  local object = {}
  i = skip(text, i)
  if text:sub(i, i) == "}" then return object, i + 1 end
  while true do
    if text:sub(i, i) ~= '"' then fail(i, "a name in quotes expected") end
    local name, after = text_at(text, i + 1)
    local begun = i
    i = after
    if object[name] ~= nil then fail(begun, ("the name %q is there twice"):format(name)) end
    i = skip(text, i)
    if text:sub(i, i) ~= ":" then fail(i, "':' expected") end
    object[name], i = value_at(text, skip(text, i + 1), depth)
    i = skip(text, i)
    local char = text:sub(i, i)
    if char == "}" then return object, i + 1 end
    if char ~= "," then fail(i, "',' or '}' expected") end
    i = skip(text, i + 1)
  end
end

function value_at(text, i, depth)
  if depth > DEEPEST then fail(i, "too deep") end
  local char = text:sub(i, i)
  if char == "{" then return object_at(text, i + 1, depth + 1) end
  if char == "[" then return list_at(text, i + 1, depth + 1) end
  if char == '"' then return text_at(text, i + 1) end
  local word = text:match("^%l+", i)
  if word then
    if LITERALS[word] == nil then fail(i, "a value expected") end
    if word == "null" then return make.null, i + 4 end
    return LITERALS[word], i + #word
  end
  return number_at(text, i)
end

local function as_it_is(list) return list end

--- The value of a JSON text | nil, what is wrong, at which byte. as: { list = function(table) that makes a list of an
--- empty table, null = what stands for null }, or nothing.
function json_read.decode(text, as)
  make = { list = as and as.list or as_it_is, null = as and as.null or json_read.null }
  local ok, value = pcall(function()
    local value, i = value_at(text, skip(text, 1), 0)
    i = skip(text, i)
    if i <= #text then fail(i, "something after the value") end
    return value
  end)
  if ok then return value end
  if type(value) ~= "table" then error(value, 0) end
  return nil, value.what, value.at
end

return json_read
