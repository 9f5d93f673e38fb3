-- SPDX-License-Identifier: Apache-2.0
--
-- Patterns of bytes, as a policy writes them and as a template takes them: the type `patterns` of a manifest's knobs.
--
--   patterns = { "GET ", { hex = "1603", at = 0 }, { "evil", within = 256 } }
--
-- A text stands for itself, at the payload's start; `at` is the offset where a pattern begins, `within` the number of
-- bytes from the start among which it stands as a whole.

local units = require "perilune.base.units"
local words = require "perilune.base.words"

local patterns = { MOST = 16, LONGEST = 16, REACH = 1024 }

local EXAMPLE = 'like { "GET ", { hex = "1603", at = 0 }, { "evil", within = 256 } }'
local KEYS = { "at", "hex", "within" }
local KNOWN = { at = true, hex = true, within = true }

local function bytes_of(one)
  local text, hex = one[1], one.hex
  if text ~= nil and hex ~= nil then return nil, "a text or hex, not both" end
  if hex == nil then
    if type(text) ~= "string" then return nil, "expected a text or hex", EXAMPLE end
    return text
  end
  local digits = type(hex) == "string" and hex:gsub("[ :]", "")
  if not digits or #digits % 2 == 1 or digits:find "[^%x]" then
    return nil, ("%s are no bytes in hex"):format(units.quote(hex)), 'like hex = "1603 01"'
  end
  return (digits:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function place(one, key, least)
  local value = one[key]
  if type(value) ~= "number" or value ~= math.floor(value) or value < least or value > patterns.REACH then
    return nil, ("%s: %s is no number of bytes"):format(key, units.quote(value)),
      ("from %d to %d"):format(least, patterns.REACH)
  end
  return value
end

-- { bytes, at } or { bytes, within }; or nil, message, remedy.
local function pattern(one)
  if type(one) == "string" then one = { one } end
  if type(one) ~= "table" then return nil, ("expected a text, got a %s"):format(type(one)), EXAMPLE end
  for key in pairs(one) do
    if key ~= 1 and not KNOWN[key] then
      return nil, ("unknown key %s"):format(units.quote(tostring(key))), words.suggest(tostring(key), KEYS)
    end
  end
  local bytes, message, remedy = bytes_of(one)
  if not bytes then return nil, message, remedy end
  if #bytes == 0 or #bytes > patterns.LONGEST then
    return nil, ("%d bytes"):format(#bytes), ("a pattern has 1 to %d"):format(patterns.LONGEST)
  end
  if one.at and one.within then return nil, "at or within, not both" end
  local found = { bytes = bytes }
  if one.within ~= nil then
    found.within, message, remedy = place(one, "within", #bytes)
  else
    found.at, message, remedy = place({ at = one.at or 0 }, "at", 0)
  end
  if message then return nil, message, remedy end
  if found.at and found.at + #bytes > patterns.REACH then
    return nil, ("it ends behind byte %d"):format(patterns.REACH), "what is further back is not read"
  end
  return found
end

--- A schema type: → list of { bytes, at } or { bytes, within } | nil, message, remedy
function patterns.parse(value)
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" then return nil, ("expected patterns, got a %s"):format(type(value)), EXAMPLE end
  local count, list = 0, {}
  for key in pairs(value) do
    if type(key) ~= "number" then
      return nil, ("unknown key %s"):format(units.quote(tostring(key))),
        "patterns is a list, and a pattern with more than a text a table in it: " .. EXAMPLE
    end
    count = math.max(count, key)
  end
  if count < 1 or count > patterns.MOST then
    return nil, ("%d patterns"):format(count), ("from 1 to %d"):format(patterns.MOST)
  end
  for i = 1, count do
    local message, remedy
    list[i], message, remedy = pattern(value[i])
    if not list[i] then return nil, ("pattern %d: %s"):format(i, message), remedy end
  end
  return list
end

-- Eight of the window's 16 bytes as a number of C, and those of them that count.
local function half(bytes, from)
  local number, mask = {}, {}
  for i = from, from + 7 do
    local at = #bytes - 15 + i
    local byte = at >= 1 and bytes:byte(at)
    number[#number + 1] = ("%02x"):format(byte or 0)
    mask[#mask + 1] = byte and "ff" or "00"
  end
  return ("0x%sULL"):format(table.concat(number)), ("0x%sULL"):format(table.concat(mask))
end

--- What C knows of the knob `name`: a list of { name, value } of #defines. NAME(X) is X(number, high, high mask, low,
--- low mask, from, span) for each pattern: the 16 bytes that end with it, and at which byte it may end: `from`, and up
--- to `span` behind it. NAME_count says how many there are, NAME_reach how many bytes have to be looked at.
function patterns.defines(name, list)
  local out, reach = {}, 0
  for i, one in ipairs(list) do
    local high, high_mask = half(one.bytes, 0)
    local low, low_mask = half(one.bytes, 8)
    local from = (one.at or 0) + #one.bytes - 1
    local span = one.within and one.within - #one.bytes or 0
    reach = math.max(reach, from + span + 1)
    out[i] = ("X(%d, %s, %s, %s, %s, %d, %d)"):format(i - 1, high, high_mask, low, low_mask, from, span)
  end
  return {
    { name .. "(X)", table.concat(out, " ") }, { name .. "_count", ("%d"):format(#list) },
    { name .. "_reach", ("%d"):format(reach) },
  }
end

--- As a policy may write them.
function patterns.show(list)
  local out = {}
  for i, one in ipairs(list) do
    local text = one.bytes:find "[^\32-\126]" and ('hex = "%s"'):format(one.bytes:gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end)) or ("%q"):format(one.bytes)
    local where = one.within and (", within = %d"):format(one.within)
      or one.at > 0 and (", at = %d"):format(one.at) or ""
    out[i] = (where ~= "" or text:find "^hex") and ("{ %s%s }"):format(text, where) or text
  end
  return ("{ %s }"):format(table.concat(out, ", "))
end

return patterns
