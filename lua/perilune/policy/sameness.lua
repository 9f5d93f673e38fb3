-- SPDX-License-Identifier: Apache-2.0
--
-- What of a policy still means the same in another declaration of it: rules, sets, probes, levels. Pure.
--
-- A policy's function means the same when its code is the same, wherever it stands, and so is what it finds in the
-- locals around it: options, plain values, tables and functions.

local words = require "perilune.base.words"

local sameness = {}

-- Where something was written, and what follows from the template's name.
local IGNORED = { line = true, file = true, at = true, manifest = true, what_number = true }

local MOST = 20000 -- values that are looked at; what is larger is like nothing else

local text_of

-- A function of C, or what cannot be looked into, is like itself alone.
local function text_of_function(fn, state)
  local ok, code = pcall(string.dump, fn, true)
  if not ok then return tostring(fn) end
  local parts, in_function = { code }, state.in_function
  state.in_function = true
  for i = 1, debug.getinfo(fn, "u").nups do
    local _, value = debug.getupvalue(fn, i)
    parts[#parts + 1] = text_of(value, state)
  end
  state.in_function = in_function
  return "function:" .. table.concat(parts, ",")
end

-- What declarations and the language's own values say of where they were written is no part of their meaning.
local function text_of_table(value, state)
  local parts = {}
  local plain = state.in_function and debug.getmetatable(value) == nil
  for key, inner in pairs(value) do
    if plain or not IGNORED[key] then
      parts[#parts + 1] = ("%s:%s=%s"):format(type(key), tostring(key), text_of(inner, state))
    end
  end
  table.sort(parts)
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Text that is equal for what means the same.
function text_of(value, state)
  local kind = type(value)
  if kind ~= "table" and kind ~= "function" then return ("%s:%s"):format(kind, tostring(value)) end
  state.left = state.left - 1
  if state.left < 0 then return tostring(state) end
  if state.seen[value] then return "again" end
  state.seen[value] = true
  local text = (kind == "table" and text_of_table or text_of_function)(value, state)
  state.seen[value] = nil
  return text
end

function sameness.equal(a, b)
  return text_of(a, { seen = {}, left = MOST }) == text_of(b, { seen = {}, left = MOST })
end

local function by_name(list)
  local map = {}
  for _, one in ipairs(list or {}) do map[one.name] = one end
  return map
end

local function same_rule(a, b, old, new)
  if not sameness.equal(a, b) then return false end
  local before, after = by_name(old.probes), by_name(new.probes)
  for _, name in ipairs(a.probes or {}) do
    if not sameness.equal(before[name], after[name]) then return false end
  end
  before, after = by_name(old.receivers), by_name(new.receivers)
  for _, act in ipairs(a.act or {}) do
    if act.kind == "notify" and not sameness.equal(before[act.receiver], after[act.receiver]) then return false end
  end
  return true
end

-- { rules, sets, probes = sets of names, kept, lost = lists like "rule surge", equal = sameness.equal } of what `new`
-- has in common with `old`; lost is what was there and is not, or means something else.
function sameness.of(old, new)
  local found = { rules = {}, sets = {}, probes = {}, kept = {}, lost = {}, equal = sameness.equal }
  local function compare(kind, list, others, same, into)
    local map = by_name(others)
    for _, name in ipairs(words.keys(by_name(list))) do
      local a, b = by_name(list)[name], map[name]
      local fits = b ~= nil and same(a, b)
      if fits and into then into[name] = true end
      table.insert(fits and found.kept or found.lost, ("%s %s"):format(kind, name))
    end
  end
  compare("set", old.sets, new.sets, function(a, b) return a.of == b.of end, found.sets)
  local probes = by_name(new.probes)
  for name, probe in pairs(by_name(old.probes)) do
    found.probes[name] = probes[name] and sameness.equal(probe, probes[name]) or nil
  end
  compare("rule", old.rules, new.rules, function(a, b) return same_rule(a, b, old, new) end, found.rules)
  return found
end

return sameness
