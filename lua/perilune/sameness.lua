-- SPDX-License-Identifier: Apache-2.0
--
-- What of a policy still means the same in another declaration of it: rules, sets, levels. Pure.

local words = require "perilune.words"

local sameness = {}

-- Where something was written, and what follows from the template's name.
local IGNORED = { line = true, file = true, at = true, manifest = true, what_number = true }

-- Text that is equal for what means the same. A function is like no other: what it does cannot be seen.
local function text_of(value, seen)
  if type(value) == "function" then return tostring(value) end
  if type(value) ~= "table" then return ("%s:%s"):format(type(value), tostring(value)) end
  if seen[value] then return "again" end
  seen[value] = true
  local parts = {}
  for key, inner in pairs(value) do
    if not IGNORED[key] then parts[#parts + 1] = ("%s=%s"):format(tostring(key), text_of(inner, seen)) end
  end
  table.sort(parts)
  seen[value] = nil
  return "{" .. table.concat(parts, ",") .. "}"
end

function sameness.equal(a, b) return text_of(a, {}) == text_of(b, {}) end

local function by_name(list)
  local map = {}
  for _, one in ipairs(list or {}) do map[one.name] = one end
  return map
end

-- Acts that go on in what belongs to one loaded probe.
local function captures(rule)
  for _, act in ipairs(rule.act or {}) do
    if act.kind == "capture" then return true end
  end
  return false
end

local function same_rule(a, b, old, new)
  if not sameness.equal(a, b) or captures(a) then return false end
  local before, after = by_name(old.probes), by_name(new.probes)
  for _, name in ipairs(a.probes or {}) do
    if not sameness.equal(before[name], after[name]) then return false end
  end
  for _, act in ipairs(a.act or {}) do
    if act.kind == "notify" and not sameness.equal(old.receivers, new.receivers) then return false end
  end
  return true
end

-- { rules, sets = sets of names, kept, lost = lists like "rule surge" } of what `new` has in common with `old`;
-- lost is what was there and is not, or means something else.
function sameness.of(old, new)
  local found = { rules = {}, sets = {}, kept = {}, lost = {} }
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
  compare("rule", old.rules, new.rules, function(a, b) return same_rule(a, b, old, new) end, found.rules)
  return found
end

return sameness
