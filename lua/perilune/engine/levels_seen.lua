-- SPDX-License-Identifier: Apache-2.0
-- What each level of a ladder has seen of a run: windows, seconds, packets, for its summary.
local levels_seen = {}

local Seen = {}
Seen.__index = Seen

--- levels: the declaration's, cheapest first; the run begins at the first.
function levels_seen.new(levels)
  local self = setmetatable({ levels = {}, by_name = {} }, Seen)
  for i, level in ipairs(levels) do
    local one = { level = level.name, windows = 0, seconds = 0, packets = 0, skbs = 0, bytes = 0, entered = 0 }
    self.levels[i], self.by_name[level.name] = one, one
  end
  self.levels[1].entered = 1
  self.current = { windows = 0, seconds = 0, packets = 0 }
  return self
end

--- Goes on with what the levels of another declaration have seen, by their names; those that are no more are at the
--- end. What the level in force has seen goes on if it is one of ours.
function Seen:inherit(old, in_force)
  for _, one in ipairs(old.levels) do
    local ours = self.by_name[one.level]
    if ours then
      for name, value in pairs(one) do ours[name] = value end
    else
      table.insert(self.levels, one)
    end
  end
  if self.by_name[in_force] then self.current = old.current end
end

--- A window that has closed ({ level = { name }, seconds }), and what its hooks have counted.
function Seen:add(closed, totals)
  local one = self.by_name[closed.level.name]
  one.windows, one.seconds = one.windows + 1, one.seconds + closed.seconds
  for _, name in ipairs { "packets", "skbs", "bytes" } do one[name] = one[name] + totals[name] end
  local current = self.current
  current.windows, current.seconds = current.windows + 1, current.seconds + closed.seconds
  current.packets = current.packets + totals.packets
end

--- Time in which nothing came, and for which no window was closed.
function Seen:skip(level, seconds)
  local one = self.by_name[level.name]
  one.seconds = one.seconds + seconds
  self.current.seconds = self.current.seconds + seconds
end

--- Another level is entered. → what the one before has seen since it was: { windows, seconds, packets }
function Seen:entered(name)
  local one, left = self.by_name[name], self.current
  one.entered = one.entered + 1
  self.current = { windows = 0, seconds = 0, packets = 0 }
  return left
end

--- Of every level { level, windows, seconds, packets, skbs, bytes, entered }, cheapest first.
function Seen:list() return self.levels end

return levels_seen
