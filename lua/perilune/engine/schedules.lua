-- SPDX-License-Identifier: Apache-2.0
--
-- The schedules of a policy at work: which are active, as claims (claims.lua) that come and go with the wall
-- clock. Pure: time comes with each look, and may run backwards when somebody sets the clock.

local schedule = require "perilune.calendar.schedule"

local schedules = {}
local Schedules = {}
Schedules.__index = Schedules

-- decl: the policy's declaration. nil when it has none.
function schedules.new(decl)
  local list = {}
  for i, declared in ipairs(decl.schedules or {}) do
    list[i] = {
      who = "schedule " .. declared.name, declared = declared, schedule = schedule.new(declared, decl.name),
      active = false, seen = math.huge, again = 0,
    }
  end
  return #list > 0 and setmetatable({ list = list }, Schedules) or nil
end

local function claim_of(one)
  if not one.active then return { cut = "schedule", why = one.who .. " has ended" } end
  return { hold = one.declared.hold, cap = one.declared.cap, cut = "schedule", why = one.declared.text }
end

-- Looks at the clock (µs), and says of each that has begun or ended what it claims: claim(who, claim).
function Schedules:see(wall, claim)
  for _, one in ipairs(self.list) do
    if wall < one.seen or wall >= one.again then
      local active, again = one.schedule:at(wall)
      one.again = again
      if active ~= one.active then
        one.active = active
        claim(one.who, claim_of(one))
      end
    end
    one.seen = wall
  end
end

-- When to look again at the latest, µs; math.huge: never.
function Schedules:again()
  local soonest = math.huge
  for _, one in ipairs(self.list) do soonest = math.min(soonest, one.again) end
  return soonest
end

return schedules
