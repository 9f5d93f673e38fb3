-- SPDX-License-Identifier: Apache-2.0
--
-- What is read of a monitor's maps, and what of it is remembered.
--
--   neither option   the map as it is; nothing changes
--   empty-on-read    what is read is taken out of the map in use, and nothing else
--   swap-on-read     two programs change places, so that the values are those of one moment, then are read, cleared;
--                    with empty-on-read they are what was counted since the last read, else all that was ever counted
--                    (of a gauge: the newest)
--
-- Since a swap ends the window of every swapped map of a path, what nobody has asked for yet is kept for who will
-- (`pending`), by map. Of counters, what was taken out is remembered too (`carried`), so that a scrape sees them grow.
-- Queues and stacks are read by taking.
local configuration = require "perilune.dynmon.configuration"
local steps = require "perilune.dynmon.steps"

local readings = {}
local Readings = {}
Readings.__index = Readings

local MOST_RECORDS = 2 ^ 20 -- that are remembered of a map

--- set: of build.set; on_lost(map, count): records that found no room here.
function readings.new(set, on_lost)
  return setmetatable({ set = set, maps = {}, on_lost = on_lost }, Readings)
end

--- What an earlier set's readings remember of a path that goes on.
function Readings:keep(earlier, side)
  for key, map in pairs(earlier.maps) do
    if key:match "^%l+" == side then self.maps[key] = map end
  end
end

-- What is remembered of a map.
function Readings:map_of(reading)
  local key = reading.owner .. " " .. reading.map
  local map = self.maps[key]
  if not map then
    map = { swapped = false, gauge = false, counted = false }
    for _, list in pairs(self.set.readings) do
      for _, one in ipairs(list) do
        if one.owner == reading.owner and one.map == reading.map then
          local meta = one.metric.meta
          map.swapped = map.swapped or one.metric.swap
          map.gauge = map.gauge or (meta ~= nil and meta.type == "gauge")
          map.counted = map.counted or (meta ~= nil and meta.type == "counter")
        end
      end
    end
    self.maps[key] = map
  end
  return map
end

-- Both as one; `from` is not needed any more.
function Readings:join(name, into, from, how)
  if not into then return from end
  local left_out = steps.check(into:merge(from, how, MOST_RECORDS))
  from:close()
  if left_out > 0 then self.on_lost(name, left_out) end
  return into
end

-- ---------------------------------------------------------------------------------------------- swapping

-- The paths whose programs change places for these readings, in order.
local function sides_of(self, wanted)
  local swap = {}
  for _, reading in ipairs(wanted) do
    if self:map_of(reading).swapped then swap[reading.owner] = true end
  end
  local coupled = self.set.coupled and next(swap) ~= nil
  local sides = {}
  for _, side in ipairs(configuration.PATHS) do
    if self.set[side] and (swap[side] or coupled) then sides[#sides + 1] = side end
  end
  return sides
end

local function drain(self, await, side)
  local path = self.set[side]
  local all = {}
  for i in ipairs(path.windows) do all[i] = true end
  local batches = await(function(done) return path.twin:drain(all, done) end)
  local failure
  for i, window in ipairs(path.windows) do
    local map = self:map_of { owner = side, map = window.map }
    local ok, joined = pcall(self.join, self, window.map, map.pending, batches[i], map.gauge and "newest" or "fold")
    if ok then
      map.pending = joined
    else -- one map's records are lost for want of memory; those of the others are not
      self.on_lost(window.map, batches[i]:count())
      batches[i]:close()
      failure = failure or joined
    end
  end
  if failure then error(failure, 0) end
end

-- One of two that take turns together could not: the other goes back, and what was counted meanwhile waits in its maps.
local function go_back(await, path)
  for _, step in ipairs { "drain", "flip", "drain" } do
    await(function(done)
      if step == "flip" then return path.twin:flip(done) end
      return path.twin:drain({}, done)
    end)
  end
end

-- Every program first, then every map: what two paths count in one map is of one window.
local function swap(self, await, wanted)
  local sides = sides_of(self, wanted)
  for i, side in ipairs(sides) do
    local path = self.set[side]
    local ok, failure = pcall(await, function(done) return path.twin:flip(done) end)
    if not ok then
      for k = 1, i - 1 do
        if self.set.coupled then go_back(await, self.set[sides[k]]) else drain(self, await, sides[k]) end
      end
      error(failure, 0)
    end
  end
  for _, side in ipairs(sides) do drain(self, await, side) end
end

-- ---------------------------------------------------------------------------------------------- values

local function form_of(reading)
  if reading.list or (reading.array and not reading.percpu) then return "value" end
  return "entry"
end

local function text_of(reading, batch)
  if not batch then return "[]" end
  return (steps.check(batch:json(nil, nil, form_of(reading))))
end

-- What has been taken out of a map is remembered, for who counts on.
local function carry(self, reading, map, batch)
  if map.counted and not reading.list then
    map.carried = self:join(reading.map, map.carried, batch, "fold")
  else
    batch:close()
  end
end

local function read(self, await, reading, clear)
  local twin = self.set[reading.owner].twin
  return (await(function(done) return twin:read(reading.map, { clear = clear }, done) end))
end

local function value_of(self, await, reading, map)
  local empty = reading.metric.empty or reading.list
  if not map.swapped then
    local batch = read(self, await, reading, empty)
    local text = text_of(reading, batch)
    if empty then carry(self, reading, map, batch) else batch:close() end
    return text
  end
  local text = text_of(reading, map.pending)
  if empty and map.pending then
    local taken = map.pending
    map.pending = nil
    carry(self, reading, map, taken)
  end
  return text
end

--- For a piece of work: the values of these readings, as JSON texts in the same order, and when they were read (µs
--- since the epoch).
function Readings:values(await, wanted, clock)
  swap(self, await, wanted)
  local texts, by_map, at = {}, {}, clock()
  for i, reading in ipairs(wanted) do
    local map = self:map_of(reading)
    -- Two metrics of one map, asked for at once, are the same.
    texts[i] = by_map[map] or value_of(self, await, reading, map)
    by_map[map] = texts[i]
    reading.read_at = at
  end
  return texts, at
end

--- The same for a scrape, which changes nothing: all that was ever counted, as a batch; nil for queues and stacks,
--- which cannot be looked at. Close it.
function Readings:look(await, reading)
  if reading.list then return nil end
  local map = self:map_of(reading)
  local batch = read(self, await, reading, false)
  for _, earlier in ipairs { map.pending or false, map.carried or false } do
    if earlier then
      local left_out = steps.check(batch:merge(earlier, map.gauge and "absent" or "fold", MOST_RECORDS))
      if left_out > 0 then self.on_lost(reading.map, left_out) end
    end
  end
  return batch
end

return readings
