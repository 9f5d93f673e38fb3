-- SPDX-License-Identifier: Apache-2.0
--
-- What the windows of the last while were made of (`:over "1m"` of quantile and entropy), for one or for many keys, in
-- bounded memory: of each key the weights of its parts, which windows add up. Parts are what the measure is about:
-- classes of a histogram, numbers that rows had, values that weights are spread over.
--
-- Slots are as in sliding.lua, but fewer, since each remembers parts: what is looked at is the span, or up to a
-- twelfth less. At most MOST_KEYS keys and MOST_PARTS parts of all keys in all slots are remembered; the figure of a
-- key that lacked room is not known until the slot in which it did has left, and is counted as overflow.

local sliding = require "perilune.engine.sliding"

local SLOTS, MOST_KEYS, MOST_PARTS = 12, 10000, 2 ^ 18

local sliding_parts = {}
local Parts = {}
Parts.__index = Parts

function sliding_parts.new(span)
  return setmetatable({
    span = span, slots = {}, seconds = 0, number = 0, totals = {}, keys = 0, parts = 0, overflow = 0,
  }, Parts)
end

-- Weights are whole numbers, so that what is taken off leaves no rounding behind.
local function drop_oldest(self)
  local slot = table.remove(self.slots, 1)
  self.seconds = self.seconds - slot.seconds
  for key, weights in pairs(slot.amounts) do
    local total = self.totals[key]
    for part, weight in pairs(weights) do
      local left = total[part] - weight
      total[part] = left > 0 and left or nil
      self.parts = self.parts - 1
    end
    if next(total) == nil then
      self.totals[key] = nil
      self.keys = self.keys - 1
    end
  end
end

--- Goes on where another of its span has come to.
function Parts:inherit(old)
  for _, name in ipairs { "slots", "seconds", "number", "totals", "keys", "parts" } do self[name] = old[name] end
end

--- A window is to be counted: puts it into a slot.
function Parts:open(start, finish, seconds)
  sliding.place(self, SLOTS, { start = start, finish = finish, seconds = seconds }, drop_oldest)
end

--- What a part of a key weighed in the window that was opened last. A slot that had no room for a key takes no new
--- ones, so that those it does not have are the ones that it may lack.
function Parts:see(key, part, weight)
  if weight <= 0 or weight ~= weight then return end
  local slot, total = self.slots[#self.slots], self.totals[key]
  local weights = slot.amounts[key]
  if self.parts >= MOST_PARTS or not weights and (slot.full or not total and self.keys >= MOST_KEYS) then
    self.overflow = self.overflow + 1
    if not weights then
      slot.full = true
    else
      slot.lacking = slot.lacking or {}
      slot.lacking[key] = true
    end
    return
  end
  if not total then
    total, self.keys = {}, self.keys + 1
    self.totals[key] = total
  end
  if not weights then
    weights = {}
    slot.amounts[key] = weights
  end
  if not weights[part] then self.parts = self.parts + 1 end
  weights[part] = (weights[part] or 0) + weight
  total[part] = (total[part] or 0) + weight
end

local NONE = {}

--- The weights of a key's parts over the span: { part → weight }, empty without any; nil when there was no room for
--- some of them.
function Parts:of(key)
  local total = self.totals[key]
  for _, slot in ipairs(self.slots) do
    if slot.lacking and slot.lacking[key] or slot.full and not slot.amounts[key] then return nil end
  end
  return total or NONE
end

--- Whether silence would still change something.
function Parts:moving() return self.keys > 0 end

return sliding_parts
