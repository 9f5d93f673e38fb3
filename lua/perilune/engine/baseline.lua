-- SPDX-License-Identifier: Apache-2.0
--
-- What is normal (`:baseline "7d"`): the mean and the spread (standard deviation) of a figure, learnt from windows,
-- for one or for many keys.
--
-- Both are weighted by time and forget exponentially with the period as time constant; until a period has been seen
-- that is nearly the plain mean. It is learnt when `warmup` (a seventh of the period) has been seen, in ten windows
-- at least; until then it is not known (NaN), which makes conditions false. A window is judged before it is learnt,
-- and is not learnt while the rule fires for it, nor when it was cut short. With `hours`, each of the 24 hours of the
-- day (UTC) is learnt apart, from its share of the period.
--
-- West's update (D. H. D. West, "Updating Mean and Variance Estimates", CACM 22, 1979) with a decay:
--   w ← w·e + u,  mean ← mean + u/w·(v - mean),  m2 ← m2·e + u·(v - old)·(v - new),  spread = √(m2 / w)
-- with e = exp(-d / constant) and u = 1 - e for a window of d seconds. That of many equal windows is that of one as
-- long.
--
-- At most MOST_KEYS keys. When there is no room, those that are not learnt yet and were seen longest ago give way.

local baseline = {}

local MOST_KEYS, LEAST_WINDOWS, HOUR, HOURS = 10000, 10, 3600, 24
local NAN = 0 / 0

local Baseline = {}
Baseline.__index = Baseline

--- period, warmup: seconds (warmup nil: a seventh); hours: learn each hour of the day apart.
function baseline.new(period, warmup, hours)
  local parts = hours and HOURS or 1
  return setmetatable({
    constant = period / parts, warmup = (warmup or period / 7) / parts, hours = hours, by_key = {}, keys = 0,
    overflow = 0, now = 0,
  }, Baseline)
end

-- Goes on where another of its period has come to.
function Baseline:inherit(old)
  for _, name in ipairs { "by_key", "keys", "now" } do self[name] = old[name] end
end

-- Which cell a moment (seconds since the epoch) belongs to.
local function cell_at(self, wall) return self.hours and math.floor(wall / HOUR) % HOURS + 1 or 1 end

function Baseline:known() return self.by_key end

local function is_learnt(self, cell)
  return cell and cell.seconds >= self.warmup - 1e-6 and cell.windows >= LEAST_WINDOWS
end

local function any_learnt(self, state)
  for i = 1, self.hours and HOURS or 1 do
    if is_learnt(self, state.cells[i]) then return true end
  end
  return false
end

-- Makes room: a tenth of what there may be, of keys that are not learnt, longest unseen first.
local function make_room(self)
  local list = {}
  for key, state in pairs(self.by_key) do
    if state.seen < self.now and not any_learnt(self, state) then list[#list + 1] = key end
  end
  table.sort(list, function(a, b)
    local x, y = self.by_key[a].seen, self.by_key[b].seen
    if x ~= y then return x < y end
    return a < b
  end)
  for i = 1, math.min(#list, MOST_KEYS / 10) do
    self.by_key[list[i]] = nil
    self.keys = self.keys - 1
  end
end

function Baseline:open(wall)
  self.now = wall
  if self.keys >= MOST_KEYS then make_room(self) end
end

local function update(cell, constant, seconds, value)
  local keep = math.exp(-seconds / constant)
  local take = 1 - keep
  local from = value - cell.mean
  cell.weight = cell.weight * keep + take
  if cell.weight > 0 then cell.mean = cell.mean + take / cell.weight * from end
  cell.m2 = cell.m2 * keep + take * from * (value - cell.mean)
  cell.seconds, cell.windows = cell.seconds + seconds, cell.windows + 1
end

--- Learns a key's figure of a window of so many seconds; `seen`: the key had rows in it.
function Baseline:learn(key, value, seconds, seen)
  if value ~= value or value == math.huge or value == -math.huge or seconds <= 0 then return end
  local state = self.by_key[key]
  if not state then
    if not seen then return end
    if self.keys >= MOST_KEYS then
      self.overflow = self.overflow + 1
      return
    end
    state = { cells = {}, seen = self.now }
    self.by_key[key], self.keys = state, self.keys + 1
  end
  if seen then state.seen = self.now end
  local at = cell_at(self, self.now)
  local cell = state.cells[at] or { weight = 0, mean = 0, m2 = 0, seconds = 0, windows = 0 }
  state.cells[at] = cell
  update(cell, self.constant, seconds, value)
end

--- Silence of so many seconds from `wall` on, in which every key's figure was `value`.
function Baseline:skip(value, seconds, wall)
  while seconds > 0 do
    local piece = self.hours and math.min(seconds, HOUR - wall % HOUR) or seconds
    self.now = wall
    for key in pairs(self.by_key) do self:learn(key, value, piece, false) end
    seconds, wall = seconds - piece, wall + piece
  end
end

--- Mean and spread at a moment; NaN when they are not learnt.
function Baseline:value(key, wall)
  local state = self.by_key[key]
  local cell = state and state.cells[cell_at(self, wall)]
  if not is_learnt(self, cell) then return NAN, NAN end
  return cell.mean, math.sqrt(math.max(0, cell.m2 / cell.weight))
end

--- What has been learnt, as plain data, and back.
function Baseline:export()
  local out = {}
  for key, state in pairs(self.by_key) do
    local cells = {}
    for at, c in pairs(state.cells) do cells[at] = { c.weight, c.mean, c.m2, c.seconds, c.windows } end
    out[key] = cells
  end
  return out
end

local function cell_of(list)
  if type(list) ~= "table" then return nil end
  for i = 1, 5 do
    if type(list[i]) ~= "number" or list[i] ~= list[i] then return nil end
  end
  return { weight = list[1], mean = list[2], m2 = list[3], seconds = list[4], windows = list[5] }
end

--- wall: now, since when all keys count as seen. Returns how many keys it knows then.
function Baseline:import(data, wall)
  for key, cells in pairs(data) do
    local state = { cells = {}, seen = wall }
    for at, list in pairs(type(cells) == "table" and cells or {}) do
      if type(at) == "number" and at >= 1 and at <= (self.hours and HOURS or 1) then state.cells[at] = cell_of(list) end
    end
    if self.keys < MOST_KEYS and next(state.cells) and not self.by_key[key] then
      self.by_key[key], self.keys = state, self.keys + 1
    end
  end
  return self.keys
end

return baseline
