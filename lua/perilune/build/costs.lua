-- SPDX-License-Identifier: Apache-2.0
--
-- What a policy's levels cost a packet, as `perilune check --record FILE` has measured it, for whoever cannot measure:
-- a replay's budget, and changes of level that are told before the new one was ever seen. Pure.
--
--   { "v": 1, "policy": "thrifty", "levels": { "deep": { "ns": 512, "parts": { "all": 300, "more": 120 } } } }
--
-- `parts`: of the probes that the budget may give up, how much less a packet costs without each.

local json_read = require "perilune.base.json_read"
local words = require "perilune.base.words"

local costs = {}
local Costs = {}
Costs.__index = Costs

local REMEDY = "perilune check POLICY.lua --record FILE measures them"

--- Whether the budget may give up a probe, wholly or in part.
function costs.is_part(decl, probe)
  if not decl.budget then return false end
  for _, name in ipairs(decl.budget.shed) do
    if name == probe.name then return true end
  end
  return probe.halvings > 0
end

local function is_cost(value) return type(value) == "number" and value >= 0 and value < 1e9 end

-- What of a level is in the file; nil, what is wrong.
local function level_of(decl, level, read)
  if type(read) ~= "table" or not is_cost(read.ns) or type(read.parts) ~= "table" then
    return nil, ('nothing says what level "%s" costs'):format(level.name)
  end
  local runs, parts = {}, {}
  for _, name in ipairs(level.probes) do runs[name] = true end
  for _, probe in ipairs(decl.probes) do
    if runs[probe.name] and costs.is_part(decl, probe) then
      local ns = read.parts[probe.name]
      if not is_cost(ns) then
        return nil, ('nothing says what probe "%s" costs at level "%s"'):format(probe.name, level.name)
      end
      parts[#parts + 1] = { name = probe.name, ns = ns, halvings = probe.halvings }
    end
  end
  return { ns = read.ns, parts = parts }
end

--- What the file's text says of this declaration | nil, message. name: the file's.
function costs.read(text, decl, name)
  local data, message = json_read.decode(text)
  if type(data) ~= "table" or type(data.levels) ~= "table" then
    return nil, ("%s: no costs of levels%s (%s)"):format(name, not data and ": " .. message or "", REMEDY)
  end
  local self = setmetatable({ levels = {} }, Costs)
  for _, level in ipairs(decl.levels) do
    local why
    self.levels[level.name], why = level_of(decl, level, data.levels[level.name])
    if why then return nil, ("%s: %s of %s (%s)"):format(name, why, decl.name, REMEDY) end
  end
  return self
end

local function rounded(ns) return ("%.1f"):format(math.max(0, ns)):gsub("%.0$", "") end

--- Costs as text: decl, list: as level_cost.measure gives it, with parts (probe → ns).
function costs.text(decl, list)
  local levels = {}
  for i, level in ipairs(list) do
    local parts = {}
    for j, name in ipairs(words.keys(level.parts)) do
      parts[j] = ('"%s": %s'):format(name, rounded(level.parts[name]))
    end
    levels[i] = ('    "%s": { "ns": %s, "parts": { %s } }'):format(level.level, rounded(level.ns),
      table.concat(parts, ", "))
  end
  return ('{\n  "v": 1,\n  "policy": "%s",\n  "levels": {\n%s\n  }\n}\n'):format(decl.name, table.concat(levels, ",\n"))
end

--- ns a packet at a level (its name), with what is given up (thrift.lua's state).
function Costs:ns(level, spare)
  local cost = self.levels[level]
  local ns = cost.ns
  for _, part in ipairs(cost.parts) do
    local left = spare.shed[part.name] and 0 or 2 ^ -math.min(spare.thin, part.halvings)
    ns = ns - part.ns * (1 - left)
  end
  return math.max(0, ns)
end

return costs
