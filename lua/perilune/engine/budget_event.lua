-- SPDX-License-Identifier: Apache-2.0
--
-- How much of a budget is used, and what its event says of that: budget.lua's other half.

local units = require "perilune.base.units"

local budget_event = {}

-- How much of the limits (cost, cpu) is used, the worse of them: over 1 is too much; and which it is. `m`: cost (nil
-- when it is not known), cpu.
function budget_event.load(limits, m)
  local cost = limits.cost and m.cost and m.cost / limits.cost or 0
  local cpu = limits.cpu and m.cpu / limits.cpu or 0
  if limits.cost and cost >= cpu then return cost, "cost" end
  return cpu, limits.cpu and "cpu" or "cost"
end

local function percent(share) return units.number(share * 100) .. " %" end

-- "412 ns a packet over 150", "3.1 % of a core of 5 %"
local function used(limits, m, how)
  local _, which = budget_event.load(limits, m)
  if which == "cpu" then return ("%s of a core %s %s"):format(percent(m.cpu), how, percent(limits.cpu)) end
  if not m.cost then return "few packets" end
  return ("%s ns a packet %s %s"):format(units.number(math.floor(m.cost + 0.5)), how, units.number(limits.cost))
end

local function given_up(budget)
  local parts, shed = {}, budget:shed_list()
  if budget.thin > 0 then parts[1] = ("sampled probes thinned to one in %d"):format(2 ^ budget.thin) end
  if #shed > 0 then parts[#parts + 1] = "without " .. table.concat(shed, ", ") end
  if budget.cap then parts[#parts + 1] = "capped at " .. budget.levels[budget.cap].name end
  return #parts > 0 and table.concat(parts, ", ") or "nothing given up"
end

local REASONS = {}

function REASONS.spent(budget, m) return used(budget.limits, m, "over") .. ": there is nothing left to give up" end

function REASONS.back(budget, m) return used(budget.limits, m, "of") .. ", room: " .. given_up(budget) end

function REASONS.settled(budget, m, saved)
  return ("%s, %s"):format(used(budget.limits, m, budget_event.load(budget.limits, m) > 1 and "over" or "of"),
    saved and ("%s ns a packet saved"):format(units.number(math.floor(saved + 0.5)))
      or "what is saved is not known")
end

local function over(budget, m) return used(budget.limits, m, "over") .. ": " .. given_up(budget) end

-- The event of a budget in its present state, at its present level. `m`: what was measured; `saved`: ns a packet, or
-- nil.
function budget_event.make(budget, what, m, saved)
  local _, limit = budget_event.load(budget.limits, m)
  return {
    event = "budget", what = what, level = budget.levels[budget.level].name,
    reason = (REASONS[what] or over)(budget, m, saved),
    cost = m.cost and math.floor(m.cost + 0.5), cpu = (limit == "cpu" or m.guess) and m.cpu or nil,
    saved = saved and math.floor(saved + 0.5),
    cost_limit = budget.limits.cost, cpu_limit = budget.limits.cpu,
    thin = 2 ^ budget.thin, shed = budget:shed_list(), cap = budget.cap and budget.levels[budget.cap].name,
  }
end

return budget_event
