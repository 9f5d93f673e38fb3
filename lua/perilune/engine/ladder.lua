-- SPDX-License-Identifier: Apache-2.0
--
-- Which level is in force: the highest one held, never above the lowest cap, else the first. Pure: time comes
-- with each step, who holds and who caps as data (decide.lua for rules, claims.lua for everybody else).
--
-- A level with `longest` is left once it has been in force for that long, for the highest other level that is
-- held, else the first. It is not entered again until everybody who held it then has let go once.

local units = require "perilune.base.units"

local ladder = {}
local Ladder = {}
Ladder.__index = Ladder

-- levels: list of { name, longest (seconds) or nil }, cheapest first.
function ladder.new(levels)
  return setmetatable({ levels = levels, current = 1, entered = nil, barred = {}, capped = {} }, Ladder)
end

-- Everybody who holds a level from `index` on, as a set.
local function holders_from(self, holds, index)
  local set = {}
  for i = index, #self.levels do
    for _, name in ipairs(holds[self.levels[i].name] or {}) do set[name] = true end
  end
  return set
end

-- Holders that have let go are let off; a bar without holders is lifted.
local function lift(self, holds)
  for index, waiting in pairs(self.barred) do
    local now = holders_from(self, holds, index)
    for holder in pairs(waiting) do
      if not now[holder] then waiting[holder] = nil end
    end
    if next(waiting) == nil then self.barred[index] = nil end
  end
end

local function copy(list)
  local copied = {}
  for i, name in ipairs(list) do copied[i] = name end
  return copied
end

-- The lowest cap: index and who caps there.
local function lowest(self, caps)
  for index, level in ipairs(self.levels) do
    local who = caps[level.name]
    if who and #who > 0 then return index, who end
  end
  return #self.levels, {}
end

-- The level to be in, and the one above or equal to it that is held for it; 1, 1 when none is.
local function highest(self, holds, limit)
  for index = #self.levels, 2, -1 do
    local holders = holds[self.levels[index].name]
    local to = math.min(index, limit)
    if holders and #holders > 0 and not self.barred[index] and not self.barred[to] then return to, index end
  end
  return 1, 1
end

-- "a", "a, b, c", "a and 9 more"
local function named(list)
  return #list > 3 and ("%s and %d more"):format(list[1], #list - 1) or table.concat(list, ", ")
end

-- step: { from, to, held (indices), overstayed, held_by, limit, uncapped }
local function why(self, step)
  local from, held = self.levels[step.from].name, self.levels[step.held].name
  local clamped = step.held > step.to
  local parts = {}
  if step.overstayed then
    parts[1] = ("%s lasted %s, the longest it may"):format(from,
      units.print(self.levels[step.from].longest, "duration"))
  elseif step.to < step.from and not (clamped and step.held >= step.from) then
    parts[1] = from .. " is no longer held"
  elseif #step.uncapped > 0 then
    parts[1] = ("no longer capped at %s by %s"):format(from, named(step.uncapped))
  end
  if #step.held_by > 0 then parts[#parts + 1] = ("%s held by %s"):format(held, named(step.held_by)) end
  if clamped then parts[#parts + 1] = step.limit end
  return table.concat(parts, ", ")
end

-- Bars the level in force when it has lasted its longest, whoever holds it or what is above it.
local function overstay(self, holds, now)
  local level = self.levels[self.current]
  if self.current == 1 or not level.longest or now < self.entered + level.longest then return false end
  local holders = holders_from(self, holds, self.current)
  if next(holders) == nil then return false end
  self.barred[self.current] = holders
  return true
end

-- state: now (seconds), holds (level name → list of holders), caps (level name → list of who caps; none when
-- nil). Returns nil while nothing changes, else { from, to, held, held_by, capped_by, reason, limit }: held is
-- the highest level that is held (the first when none is) and held_by who holds it; where a cap keeps it from
-- being entered, capped_by are whose cap, and limit says so.
function Ladder:step(state)
  local holds, now = state.holds, state.now
  self.entered = self.entered or now
  lift(self, holds)
  local from = self.current
  local overstayed = overstay(self, holds, now)
  local limit, cappers = lowest(self, state.caps or {})
  local to, held = highest(self, holds, limit)
  local uncapped = self.capped
  self.capped = held > to and cappers or {}
  if to == from then return nil end
  self.current, self.entered = to, now
  local step = {
    from = from, to = to, held = held, overstayed = overstayed and to < from,
    held_by = copy(holds[self.levels[held].name] or {}), uncapped = to > from and uncapped or {},
    limit = held > to and ("capped at %s by %s"):format(self.levels[to].name, named(cappers)) or nil,
  }
  return {
    from = self.levels[from].name, to = self.levels[to].name, held = self.levels[held].name,
    held_by = step.held_by, capped_by = limit <= held and copy(cappers) or {},
    reason = why(self, step), limit = step.limit,
  }
end

-- Whether a level would be entered if it was held, the highest of all. caps: as for step.
function Ladder:is_free(index, caps)
  return index <= lowest(self, caps) and not self.barred[index]
end

-- When the level in force has lasted its longest, in the seconds of the steps' clock; nil when it may last.
function Ladder:due()
  local longest = self.levels[self.current].longest
  return longest and self.entered and self.entered + longest or nil
end

-- A holder asks anew: whatever it has overstayed does not count any more.
function Ladder:let_off(holder)
  for _, waiting in pairs(self.barred) do waiting[holder] = nil end
end

-- Goes on at a level (its position) that was entered then.
function Ladder:resume(index, entered) self.current, self.entered = index, entered end

-- The name of the level in force, and its position.
function Ladder:level() return self.levels[self.current].name end
function Ladder:index() return self.current end

return ladder
