-- SPDX-License-Identifier: Apache-2.0
--
-- pcn_log: what a program says through the daemon's log. A program hands over a text's number and four numbers at most;
-- the text itself stays with whoever compiled it.
--
-- Formats are printf's for integers, and %I (an IPv4 address), %P (a port, in network order) and %M (a MAC address), as
-- they lie in memory.
local bit = require "bit"

local logs = {}

local MOST_ARGUMENTS = 4 -- as bpf/dynmon.h has them
local ESCAPES = { n = "\n", t = "\t", r = "\r", a = "\a", b = "\b", f = "\f", v = "\v" }

-- C's escapes in a text without its quotes.
local function unescape(text)
  local out, i = {}, 1
  while i <= #text do
    local plain = text:match("^[^\\]+", i)
    local hex, octal = text:match("^\\x(%x+)", i), text:match("^\\([0-7][0-7]?[0-7]?)", i)
    if plain then
      out[#out + 1], i = plain, i + #plain
    elseif hex then
      out[#out + 1], i = string.char(tonumber(hex, 16) % 256), i + 2 + #hex
    elseif octal then
      out[#out + 1], i = string.char(tonumber(octal, 8) % 256), i + 1 + #octal
    else
      local escaped = text:match("^\\(\r?\n)", i) or text:sub(i + 1, i + 1)
      out[#out + 1] = ESCAPES[escaped] or (escaped:find "\n" and "" or escaped)
      i = i + 1 + #escaped
    end
  end
  return table.concat(out)
end

-- Bytes of a number as they lie in memory, the lowest first.
local function bytes(value, count)
  local out = {}
  for i = 1, count do
    out[i] = value % 256
    value = math.floor(value / 256)
  end
  return out
end

local function signed(value, size)
  local limit = size == 4 and 2 ^ 32 or size == 2 and 2 ^ 16 or size == 1 and 2 ^ 8 or 2 ^ 64
  value = value % limit
  return value >= limit / 2 and value - limit or value
end

-- Bytes of an integer by what stands before its letter.
local SIZES = { hh = 1, h = 2, [""] = 4, l = 8, ll = 8, z = 8, j = 8, t = 8 }

local shown = {
  I = function(value) return ("%d.%d.%d.%d"):format(unpack(bytes(value, 4))) end,
  P = function(value)
    local octets = bytes(value, 2)
    return ("%d"):format(octets[1] * 256 + octets[2])
  end,
  M = function(value) return ("%02x:%02x:%02x:%02x:%02x:%02x"):format(unpack(bytes(value, 6))) end,
}

local function integer(flags, length, letter)
  local size = SIZES[length]
  if letter == "d" or letter == "i" then
    return function(value) return ("%" .. flags .. ".0f"):format(signed(value, size)) end
  end
  local limit = 2 ^ (8 * size)
  if letter == "u" then return function(value) return ("%" .. flags .. ".0f"):format(value % limit) end end
  if letter == "c" then return function(value) return string.char(value % 256) end end
  return function(value)
    value = value % limit
    if value < 2 ^ 52 then return ("%" .. flags .. letter):format(value) end
    local high, low = math.floor(value / 2 ^ 32), value % 2 ^ 32
    return bit.tohex(high) .. bit.tohex(low)
  end
end

local function piece(flags, length, letter)
  if shown[letter] then return shown[letter] end
  if letter == "p" then return integer("#", "ll", "x") end
  if letter:find "[diuxXoc]" and SIZES[length] and flags:find "^[-+ #0]*%d?%d?$" then
    return integer(flags, length, letter)
  end
end

--- parts: texts in quotes as the source has them, count: of arguments → a format | nil, what is wrong.
function logs.parse(parts, count)
  local text = {}
  for i, part in ipairs(parts) do text[i] = unescape(part:sub(2, -2)) end
  text = table.concat(text)
  local format, i, needed = {}, 1, 0
  while i <= #text do
    local from, to, flags, length, letter = text:find("%%([-+ #0%d]*)([hlzjt]*)(.?)", i)
    if not from then break end
    format[#format + 1] = text:sub(i, from - 1)
    if letter == "%" then
      format[#format + 1] = "%"
    else
      local one = piece(flags, length, letter)
      if not one then return nil, ("%s cannot be shown (integers, %%I, %%P and %%M can)"):format(text:sub(from, to)) end
      format[#format + 1] = one
      needed = needed + 1
    end
    i = to + 1
  end
  format[#format + 1] = text:sub(i)
  if needed ~= count then return nil, ("its text shows %d values, and there are %d"):format(needed, count) end
  if count > MOST_ARGUMENTS then return nil, ("at most %d values go into a line"):format(MOST_ARGUMENTS) end
  return format
end

--- The line that a format and the values (numbers) make.
function logs.line(format, values)
  local out, at = {}, 0
  for i, one in ipairs(format) do
    if type(one) == "function" then
      at = at + 1
      out[i] = one(values[at] or 0)
    else
      out[i] = one
    end
  end
  return table.concat(out)
end

return logs
