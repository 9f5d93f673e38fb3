-- SPDX-License-Identifier: Apache-2.0
-- Arguments of a command: long options with or without a value, repeatable ones, and what is left.
--
--   args.parse({ set = "pairs", ["for"] = "text", json = "flag" }, list)
--     → { set = { k = v }, json = true, [1] = "x.lua" }
--
-- "text" and "pairs" take the next word or what follows "="; "pairs" may come many times, each k=v. ["-f"] = "follow"
-- gives a long option a short name. "policy" takes a text that stands for a policy's file, and goes before all files.
local one_line = require "perilune.policy.one_line"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local args = {}

local function take(kind, name, inline, list, i)
  if kind == "flag" then
    if inline then return nil, ("--%s takes no value"):format(name) end
    return true, i
  end
  if inline then return inline, i end
  if list[i + 1] == nil then return nil, ("--%s needs a value"):format(name) end
  return list[i + 1], i + 1
end

local function pair(into, text)
  local key, value = text:match "^([%w_.-]+)=(.*)$"
  if not key then return nil, ("--set %s: expected NAME=VALUE (like --set iface=eth0)"):format(text) end
  into[key] = value
  return into
end

-- What can be written with two dashes.
local function long(spec)
  local names = {}
  for _, name in ipairs(words.keys(spec)) do
    if name:sub(1, 1) ~= "-" then names[#names + 1] = name end
  end
  return names
end

args.long = long

--- nil, message when a word does not fit.
function args.parse(spec, list)
  local out, i = {}, 1
  while i <= #list do
    local word = list[i]
    local name, inline = word:match "^%-%-([%w-]+)=(.*)$"
    name = name or word:match "^%-%-([%w-]+)$"
    if word == "-h" then name = "help" end
    if word:find "^%-%a$" then name = name or spec[word] end
    if name then
      local kind = name == "help" and "flag" or spec[name]
      if not kind then
        return nil, ("there is no option --%s here (%s)"):format(name, words.suggest(name, long(spec)))
      end
      local value, at = take(kind, name, inline, list, i)
      if value == nil then return nil, at end
      i = at
      if kind == "policy" then
        local first = 1
        while out[first] and one_line.is(out[first]) do first = first + 1 end
        table.insert(out, first, one_line.word(value))
        value = true
      elseif kind == "pairs" then
        local ok, message = pair(out[name] or {}, value)
        if not ok then return nil, message end
        value = ok
      end
      out[name] = value
    elseif word:sub(1, 1) == "-" and word ~= "-" then
      return nil, ("there is no option %s (options begin with two dashes)"):format(word)
    else
      out[#out + 1] = word
    end
    i = i + 1
  end
  return out
end

--- The seconds that an option of this name says ("10s", "5m"); nil without it, and nil, message when it is no time.
function args.duration(parsed, name)
  local text = parsed[name]
  if not text then return nil end
  local seconds, message = units.parse(text, "duration")
  if not seconds then return nil, ("--%s %s: %s (write it like --%s 10s)"):format(name, text, message, name) end
  return seconds
end

return args
