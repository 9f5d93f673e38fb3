-- SPDX-License-Identifier: Apache-2.0
--
-- Which interfaces a policy means: names, and globs as a shell has them.
--
--   "eth0"   "eth0,eth1"   { "eth0", "veth*" }   "br-[0-9a-f]?"   "wan[!0]"
--
-- `*` any text, `?` any one character, `[…]` one of these (`[!…]` none of these).
local units = require "perilune.base.units"

local interfaces = {}

local LONGEST = 15 -- of a name, in Linux
local LONGEST_GLOB = 64

--- Whether it is a glob, and not the name of one interface.
function interfaces.is_glob(text) return text:find "[%*%?%[]" ~= nil end

-- The pieces of a glob, one at a time: its text, and the Lua pattern for it; nil for a set that is not closed.
local function piece(glob, at)
  local char = glob:sub(at, at)
  if char == "*" then return 1, ".*" end
  if char == "?" then return 1, "." end
  if char ~= "[" then return 1, (char:gsub("%W", "%%%0")) end
  local negated = glob:match("^[!^]", at + 1)
  local from = at + 1 + (negated and 1 or 0)
  local to = glob:find("]", from + 1, true) -- a bracket that comes first stands for itself
  if not to then return nil end
  local set = glob:sub(from, to - 1):gsub("[%%%]%[^]", "%%%0")
  return to - at + 1, "[" .. (negated and "^" or "") .. set .. "]"
end

-- The Lua pattern of a glob; nil when a bracket is not closed.
local function pattern_of(glob)
  local out, at = { "^" }, 1
  while at <= #glob do
    local length, pattern = piece(glob, at)
    if not length then return nil end
    out[#out + 1] = pattern
    at = at + length
  end
  return table.concat(out) .. "$"
end

-- Linux: at most 15 bytes, no blank, slash or colon.
local function check(text)
  if type(text) ~= "string" or text == "" or text:find "[%s/:%c]" or text == "." or text == ".."
    or #text > (interfaces.is_glob(text) and LONGEST_GLOB or LONGEST) then
    return nil, ("%s is no interface name"):format(units.quote(text)), "like eth0 or veth*; `ip link` lists them"
  end
  if interfaces.is_glob(text) and not pattern_of(text) then
    return nil, ("%s has a bracket that is not closed"):format(units.quote(text)), "like wan[0-3]"
  end
  return true
end

--- The names and globs of a text, which commas part: a list; nil, message, remedy.
function interfaces.parse(text)
  if type(text) ~= "string" then return check(text) end
  local list = {}
  for part in (text .. ","):gmatch "(.-)," do
    local ok, message, remedy = check(part)
    if not ok then return nil, message, remedy end
    list[#list + 1] = part
  end
  return list
end

--- matches(name) → boolean, for a list of names and globs.
function interfaces.matcher(list)
  local names, patterns = {}, {}
  for _, text in ipairs(list) do
    if interfaces.is_glob(text) then patterns[#patterns + 1] = pattern_of(text) end
    names[text] = true -- a name may also look like a glob
  end
  return function(name)
    if names[name] then return true end
    for _, pattern in ipairs(patterns) do
      if name:find(pattern) then return true end
    end
    return false
  end
end

return interfaces
