-- SPDX-License-Identifier: Apache-2.0
--
-- Figures over the windows of the last while (`:over "1m"`), for one or for many keys, in bounded memory.
--
-- Windows are put into slots, at least a SLOTS-th of the span long, so that what is remembered does not depend on how
-- short windows are. A slot leaves when its beginning is longer ago than the span: what is looked at is the span, or
-- up to one slot less; in the beginning, what has been seen. Windows that were cut short are in it like others, with
-- the seconds that they had; a window in which the probe did not run is not.
--
-- At most MOST_KEYS keys are remembered, and MOST_VALUES values in all for the number of different ones; what is
-- beyond that is not known (NaN) or not counted, and counted as overflow.

local sliding = {}

local SLOTS, MOST_KEYS, MOST_VALUES = 60, 10000, 2 ^ 18
local EPSILON = 1e-6
local NAN = 0 / 0

local Sliding = {}
Sliding.__index = Sliding

local FOLD = {
  sum = function(a, b) return a + b end,
  min = math.min, max = math.max,
}

--- kind: "sum", "min", "max" of a figure of each window, or "union": how many different values there were.
function sliding.new(kind, span)
  return setmetatable({
    kind = kind, span = span, slots = {}, totals = {}, uses = {}, keys = 0, seconds = 0, overflow = 0,
    last = {}, values = 0, number = 0,
  }, Sliding)
end

-- A key that no slot has any more is forgotten, so that no rounding is left of it.
local function release(self, key)
  self.uses[key] = self.uses[key] - 1
  if self.uses[key] > 0 then return end
  self.uses[key], self.totals[key] = nil, nil
  self.keys = self.keys - 1
end

-- Values that were seen last in a slot that has gone.
local function sweep(self, number)
  for key, seen in pairs(self.last) do
    for value, at in pairs(seen) do
      if at <= number then
        seen[value] = nil
        self.values = self.values - 1
        self.totals[key] = self.totals[key] - 1
      end
    end
    if next(seen) == nil then
      self.last[key], self.totals[key] = nil, nil
      self.keys = self.keys - 1
    end
  end
end

local function drop_oldest(self)
  local slot = table.remove(self.slots, 1)
  self.seconds = self.seconds - slot.seconds
  if self.kind == "union" then return sweep(self, slot.number) end
  for key, amount in pairs(slot.amounts) do
    if self.kind == "sum" then self.totals[key] = self.totals[key] - amount end
    release(self, key)
  end
  if #self.slots == 0 then self.seconds = 0 end
end

-- Goes on where another of its kind and span has come to.
function Sliding:inherit(old)
  for _, name in ipairs { "slots", "totals", "uses", "keys", "seconds", "last", "values", "number" } do
    self[name] = old[name]
  end
end

--- Puts a window { start =, finish =, seconds = } into a slot of `self` (span, slots, seconds, number), of which there
--- are about `most`. drop(self) is called to take out the oldest.
function sliding.place(self, most, window, drop)
  while self.slots[1] and self.slots[1].start < window.finish - self.span - EPSILON do drop(self) end
  local slot = self.slots[#self.slots]
  if not slot or window.finish - slot.start > self.span / most + EPSILON then
    self.number = self.number + 1
    slot = { start = window.start, seconds = 0, amounts = {}, number = self.number }
    self.slots[#self.slots + 1] = slot
  end
  slot.seconds, self.seconds = slot.seconds + window.seconds, self.seconds + window.seconds
end

--- A window is to be counted: puts it into a slot.
function Sliding:open(start, finish, seconds)
  sliding.place(self, SLOTS, { start = start, finish = finish, seconds = seconds }, drop_oldest)
end

-- Whether there is room for this key.
local function admit(self, key)
  if self.totals[key] ~= nil then return true end
  if self.keys >= MOST_KEYS then
    self.overflow = self.overflow + 1
    return false
  end
  self.keys = self.keys + 1
  return true
end

--- A key's figure of the window that was opened last.
function Sliding:add(key, amount)
  if amount ~= amount or (amount == 0 and self.kind == "sum") or not admit(self, key) then return end
  local slot, fold = self.slots[#self.slots], FOLD[self.kind]
  local before = slot.amounts[key]
  slot.amounts[key] = before and fold(before, amount) or amount
  if not before then self.uses[key] = (self.uses[key] or 0) + 1 end
  self.totals[key] = (self.totals[key] or 0) + (self.kind == "sum" and amount or 0)
end

--- One of the values that a key had in the window that was opened last.
function Sliding:see(key, value)
  if not admit(self, key) then return end
  local seen = self.last[key]
  if not seen then
    seen, self.last[key] = {}, nil
    self.last[key], self.totals[key] = seen, 0
  end
  if not seen[value] then
    if self.values >= MOST_VALUES then
      self.overflow = self.overflow + 1
      return
    end
    self.values, self.totals[key] = self.values + 1, self.totals[key] + 1
  end
  seen[value] = self.number
end

--- A key's figure over the span. A key without any has none because it was silent, or because there was no room.
function Sliding:value(key)
  local total = self.totals[key]
  if self.kind == "sum" or self.kind == "union" then
    return total or (self.keys >= MOST_KEYS and NAN or 0)
  end
  local result = NAN
  for _, slot in ipairs(self.slots) do
    local amount = slot.amounts[key]
    if amount then result = result == result and FOLD[self.kind](result, amount) or amount end
  end
  return result
end

--- Whether silence would still change something.
function Sliding:moving() return self.keys > 0 end

return sliding
