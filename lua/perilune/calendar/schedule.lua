-- SPDX-License-Identifier: Apache-2.0
--
-- When a schedule is active: a function of the wall clock's time and nothing else, so a clock that is set, a
-- process that starts late and a replay all find the same. Times are whole µs since 1970 (UTC).
--
-- An occurrence has a begin and an end; `jitter` moves both later, by an amount that the policy's and the
-- schedule's name and the begin decide. A schedule is active while one of its occurrences is.
--
--   every    begins at the multiples of its period since 1970-01-01 00:00 UTC, whatever the zone does
--   between  begins when the zone's clocks first show the one time, ends when they next show the other. A time that is
--            skipped is the moment of the skip; one that is repeated, is so once.
--   cron     as cron(8) does it: where neither minute nor hour begin with *, a time that is skipped is made up for at
--            the moment of the skip, and one that is repeated is so once, the first time; other expressions go by what
--            the clocks show. Zones that move by more than three hours are a new clock: nothing is made up for.
--   days     are those of the zone on which occurrences begin: a night belongs to the day it begins.

local civil = require "perilune.calendar.civil"
local cron = require "perilune.calendar.cron"
local zone = require "perilune.calendar.zone"

local schedule = {}
local Schedule = {}
Schedule.__index = Schedule

local US = 1e6
local SMALL = 3 * 3600 -- seconds; the largest change of an offset that is daylight saving's
-- Days that are looked at for the next occurrence: 29 February on a given weekday comes within 40 years.
local HORIZON = 41 * 366
-- Longer than any occurrence of `between`, which may have an hour twice.
local LONGEST_BETWEEN = 27 * 3600
local CACHED_DAYS = 64

-- The UTC times of a local time that is to happen once: none or one, in a list.
local function once(where, wall)
  local times, skip = where:utc(wall)
  if #times > 1 and times[#times] - times[1] <= SMALL then return { times[1] } end
  if #times == 0 and skip and skip.after - skip.before <= SMALL then return { skip.at } end
  return times
end

-- What a day of the zone has: a list of { begin, finish } in seconds.
local day_of = {}

function day_of.cron(self, day)
  local list, wild = {}, self.cron.wild
  if not self.cron:on(day) then return list end
  for _, time in ipairs(self.cron.times) do
    local wall = day * civil.DAY + time
    for _, at in ipairs(wild and self.zone:utc(wall) or once(self.zone, wall)) do
      list[#list + 1] = { begin = at, finish = at + self.lasting }
    end
  end
  table.sort(list, function(a, b) return a.begin < b.begin end)
  return list
end

function day_of.between(self, day)
  local from, to = self.between[1], self.between[2]
  local begin = once(self.zone, day * civil.DAY + from)[1]
  if not begin then return {} end
  local times, skip = self.zone:utc((to <= from and day + 1 or day) * civil.DAY + to)
  local finish = times[1] or skip and skip.at
  if not finish or finish <= begin then return {} end
  return { { begin = begin, finish = finish } }
end

-- The occurrences that begin on a day, sorted.
local function of_day(self, day)
  local known = self.cache[day]
  if known then return known end
  if self.cached >= CACHED_DAYS then self.cache, self.cached = {}, 0 end
  known = self.days and not self.days[civil.weekday(day)] and {} or day_of[self.kind](self, day)
  self.cache[day], self.cached = known, self.cached + 1
  return known
end

-- How many of a day's occurrences begin at or before a time.
local function position(list, at)
  local low, high = 0, #list
  while low < high do
    local middle = math.ceil((low + high) / 2)
    if list[middle].begin <= at then low = middle else high = middle - 1 end
  end
  return low
end

-- Clocks may be set back over midnight, so days overlap: the neighbours of a day that has an answer are asked as
-- well.
local function last_by_days(self, at)
  local _, today = self.zone:wall(math.floor(at))
  local best, left
  for day = today + 1, today - HORIZON, -1 do
    local list = of_day(self, day)
    local one = list[position(list, at)]
    if one and (not best or one.begin > best.begin) then best = one end
    left = best and (left or 2) - 1
    if left == 0 or (today - day) * civil.DAY > self.span + 2 * civil.DAY then break end
  end
  return best
end

local function next_by_days(self, at)
  local _, today = self.zone:wall(math.floor(at))
  local best, left
  for day = today - 1, today + HORIZON do
    local list = of_day(self, day)
    local one = list[position(list, at) + 1]
    if one and (not best or one.begin < best.begin) then best = one end
    left = best and (left or 2) - 1
    if left == 0 then break end
  end
  return best
end

-- Whether an occurrence of `every` may begin then; else the day it would begin on.
local function allowed(self, begin)
  if not self.days then return true end
  local _, day = self.zone:wall(math.floor(begin))
  return self.days[civil.weekday(day)] == true, day
end

-- The midnights with which a day begins: two where clocks are set back over it.
local function midnights(self, day)
  local times, skip = self.zone:utc(day * civil.DAY)
  return #times > 0 and times or { skip and skip.at }
end

-- Multiples of the period, on days that are allowed; days that are not are jumped over.
local function last_multiple(self, at)
  local begin = math.floor(at / self.every) * self.every
  while begin > at - self.span - 8 * civil.DAY do
    local good, day = allowed(self, begin)
    if good then return { begin = begin, finish = begin + self.lasting } end
    local before = begin - self.every
    for _, midnight in ipairs(midnights(self, day)) do
      if midnight <= begin then before = math.ceil(midnight / self.every) * self.every - self.every end
    end
    begin = math.min(before, begin - self.every)
  end
end

local function next_multiple(self, at)
  local begin = math.floor(at / self.every) * self.every + self.every
  for _ = 1, HORIZON do
    local good, day = allowed(self, begin)
    if good then return { begin = begin, finish = begin + self.lasting } end
    local midnight = math.huge
    for _, one in ipairs(midnights(self, day + 1)) do
      if one > begin then midnight = math.min(midnight, one) end
    end
    local after = midnight < math.huge and math.ceil(midnight / self.every) * self.every or begin
    begin = math.max(after, begin + self.every)
  end
end

-- A number in [0, 1) that text decides: FNV-1a, then mixed so that texts that differ in their end are far apart.
local function fraction(text)
  local hash = 0x811c9dc5
  local function mix(by) -- multiplies by a 32-bit number, modulo 2^32
    local low, high = bit.band(hash, 0xffff), bit.rshift(hash, 16)
    hash = bit.tobit((low * by + bit.band(high * by, 0xffff) * 0x10000) % 2 ^ 32)
  end
  for i = 1, #text do
    hash = bit.bxor(hash, text:byte(i))
    mix(0x01000193)
  end
  for _, by in ipairs { 0x85ebca6b, 0xc2b2ae35 } do
    hash = bit.bxor(hash, bit.rshift(hash, 15))
    mix(by)
  end
  return (bit.tobit(hash) % 2 ^ 32) / 2 ^ 32
end

-- declared: { name, every (s) | between = { s, s } | cron (text), lasting (s), days = set of weekdays or nil,
-- zone (name) or nil, jitter (s) or nil }, with no fault in it (schedule_words.lua); policy: its name.
function schedule.new(declared, policy)
  local self = setmetatable({
    kind = declared.every and "every" or declared.between and "between" or "cron",
    every = declared.every, between = declared.between, cron = declared.cron and assert(cron.parse(declared.cron)),
    lasting = declared.lasting, days = declared.days, zone = assert(zone.open(declared.zone)),
    jitter = declared.jitter or 0, salt = ("%s\n%s\n"):format(policy, declared.name),
    cache = {}, cached = 0,
  }, Schedule)
  self.span = (self.lasting or LONGEST_BETWEEN) + self.jitter
  self.last = self.every and last_multiple or last_by_days
  self.next = self.every and next_multiple or next_by_days
  return self
end

-- An occurrence as it happens: begin and end in µs, moved by its jitter, which is whole ms.
local function moved(self, one)
  local begin, finish = math.floor(one.begin * US + 0.5), math.floor(one.finish * US + 0.5)
  if self.jitter == 0 then return begin, finish end
  local shift = math.floor(fraction(self.salt .. ("%.6f"):format(one.begin)) * self.jitter * 1000) * 1000
  return begin + shift, finish + shift
end

-- Whether it is active at a time (µs), and until when that is known to be so at least (µs; math.huge: for ever).
function Schedule:at(now)
  local soonest, at = math.huge, now / US
  local one = self:last(at)
  while one and one.begin + self.span > now / US do
    local begin, finish = moved(self, one)
    if begin <= now and now < finish then return true, finish end
    if begin > now then soonest = math.min(soonest, begin) end
    at = one.begin - 1 / 1024
    one = self:last(at)
  end
  one = self:next(now / US)
  while one and one.begin * US < soonest do
    soonest = math.min(soonest, (moved(self, one)))
    one = self:next(one.begin)
  end
  return false, soonest
end

return schedule
