-- SPDX-License-Identifier: Apache-2.0
--
-- Which level is in force: the highest one held, else the first. Pure: time comes with each step.
--
-- A level with `longest` is left once it has been in force for that long, for the highest other level that is
-- held, else the first. It is not entered again until every rule that held it then has cleared once.

local units = require "perilune.units"

local ladder = {}
local Ladder = {}
Ladder.__index = Ladder

-- levels: list of { name, longest (seconds) or nil }, cheapest first.
function ladder.new(levels)
  return setmetatable({ levels = levels, current = 1, entered = nil, barred = {} }, Ladder)
end

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

-- Holders that have cleared are let off; a bar without holders is lifted.
local function lift(self, holds)
  for index, waiting in pairs(self.barred) do
    local now = set_of(holds[self.levels[index].name] or {})
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

local function highest(self, holds)
  for index = #self.levels, 2, -1 do
    local holders = holds[self.levels[index].name]
    if holders and #holders > 0 and not self.barred[index] then return index end
  end
  return 1
end

local function why(self, from, to, overstayed, held_by)
  local left, entered = self.levels[from], self.levels[to]
  local text
  if overstayed then
    text = ("%s lasted %s, the longest it may"):format(left.name, units.print(left.longest, "duration"))
  elseif to < from then
    text = left.name .. " is no longer held"
  end
  if #held_by == 0 then return text end
  local holders = #held_by > 3 and ("%s and %d more"):format(held_by[1], #held_by - 1)
    or table.concat(held_by, ", ")
  local held = ("%s held by %s"):format(entered.name, holders)
  return text and text .. ", " .. held or held
end

-- state: now (seconds), holds (level name → list of holders, as decide gives it). Returns nil while nothing
-- changes, else { from, to, rule (name of the first holder, nil at the base), held_by, capped_by, reason }.
function Ladder:step(state)
  local holds, now = state.holds, state.now
  self.entered = self.entered or now
  lift(self, holds)
  local from = self.current
  local level = self.levels[from]
  local overstayed = from > 1 and level.longest ~= nil and now - self.entered >= level.longest
    and #(holds[level.name] or {}) > 0
  if overstayed then self.barred[from] = set_of(holds[level.name]) end
  local to = highest(self, holds)
  if to == from then return nil end
  overstayed = overstayed and to < from
  self.current, self.entered = to, now
  local held_by = to > 1 and copy(holds[self.levels[to].name]) or {}
  return {
    from = level.name, to = self.levels[to].name, rule = held_by[1] and held_by[1]:match("^%S+"),
    held_by = held_by,
    capped_by = {}, reason = why(self, from, to, overstayed, held_by),
  }
end

-- The name of the level in force, and its position.
function Ladder:level() return self.levels[self.current].name end
function Ladder:index() return self.current end

return ladder
