-- SPDX-License-Identifier: Apache-2.0
--
-- Exponentially weighted means (`:ewma "30s"`), for one or for many keys: what was seen t seconds ago weighs
-- exp(-t / constant), whatever the lengths of windows. A window of length d and figure v takes the mean y to
--
--   y · e + v · (1 - e),  e = exp(-d / constant)
--
-- and since all begins with nothing, y is divided by the weight w that it has had (w · e + 1 - e, from 0 on): in the
-- beginning it is the plain mean by time. A sum S of a window enters by its density, S · (1 - e) / d, also where d
-- is nearly 0, so that windows which were cut short neither get lost nor count twice.
--
-- A key that appears was silent before: its earlier sums were 0. A figure that is not known changes nothing. At most
-- MOST_KEYS keys; those silent for FORGET constants are forgotten, when e^-20 of them is left.

local smooth = {}

local MOST_KEYS, FORGET = 10000, 20
local NAN = 0 / 0

local Smooth = {}
Smooth.__index = Smooth

--- dense: figures are sums of windows, and the mean is that of their amount per second.
function smooth.new(constant, dense)
  return setmetatable({
    constant = constant, dense = dense, by_key = {}, keys = 0, weight = 0, overflow = 0, now = 0,
  }, Smooth)
end

-- Goes on where another of its constant has come to.
function Smooth:inherit(old)
  for _, name in ipairs { "by_key", "keys", "weight", "now" } do self[name] = old[name] end
end

--- The window's length, before its figures.
function Smooth:open(seconds, finish)
  local x = seconds / self.constant
  self.keep = math.exp(-x)
  self.take = 1 - self.keep
  -- (1 - e^-x) / x, by its series where the difference would lose its digits
  self.density = (x > 1e-4 and self.take / x or 1 - x / 2 + x * x / 6) / self.constant
  self.before, self.weight = self.weight, self.weight * self.keep + self.take
  self.now = finish
end

function Smooth:known() return self.by_key end

local function enter(self, key)
  if self.keys >= MOST_KEYS then
    self.overflow = self.overflow + 1
    return nil
  end
  self.keys = self.keys + 1
  local state = { mean = 0, weight = self.dense and self.before or 0, seen = self.now }
  self.by_key[key] = state
  return state
end

--- A key's figure in this window.
function Smooth:add(key, value)
  local state = self.by_key[key]
  if value ~= value or (not state and value == 0 and self.dense) then return end
  state = state or enter(self, key)
  if not state then return end
  state.mean = state.mean * self.keep + value * (self.dense and self.density or self.take)
  state.weight = state.weight * self.keep + self.take
  if value ~= 0 then
    state.seen = self.now
  elseif self.now - state.seen > FORGET * self.constant then
    self.by_key[key] = nil
    self.keys = self.keys - 1
  end
end

function Smooth:value(key)
  local state = self.by_key[key]
  if not state then return self.dense and self.keys < MOST_KEYS and 0 or NAN end
  if state.weight > 0 then return state.mean / state.weight end
  return NAN
end

function Smooth:moving() return self.keys > 0 end

return smooth
