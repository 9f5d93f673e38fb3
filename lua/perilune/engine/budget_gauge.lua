-- SPDX-License-Identifier: Apache-2.0
--
-- What a sample says of a policy's costs: the part of budget.lua that measures. Pure.
--
-- What a packet costs comes from spans that end once enough packets were seen. How many there are a second does not:
-- such a span ends in the middle of a burst. That is counted all the time, by the windows, and taken over seconds.

local gauge = {}
local Gauge = {}
Gauge.__index = Gauge

local ENOUGH = 50 -- runs without which a sample says nothing of the cost of one
local FEW = 2500 -- packets a second, less than which cost little whatever one costs: caches are cold for each
local RATE = 2 -- seconds over which packets a second are taken
local GAP, FROM_BURST = 0.02, 1 -- seconds: a pause after which a burst begins; the same from one burst's begin on
local AVERAGE = 1 -- seconds over which the process's own share is taken, or a window's length
local LONGEST_AVERAGE = 10

function gauge.new() return setmetatable({ used = {}, passed = {}, begins = {} }, Gauge) end

-- How fast a count that only grows has grown over the last `long` seconds, or what more there is between two samples;
-- nil as long as that is not known. list: earlier samples, kept here.
local function slope(list, at, count, long)
  if list[1] and at <= list[#list].at then return nil end
  list[#list + 1] = { at = at, count = count }
  while list[2] and at - list[2].at >= long do table.remove(list, 1) end
  local seconds = at - list[1].at
  return seconds >= long and (count - list[1].count) / seconds or nil
end

-- Packets a second. Spans wait for packets, so of traffic in bursts they tell where bursts begin, and how many packets
-- there are from one begin to another says more, and sooner, than between two moments that lie anywhere in a burst.
-- What has come since the last one is the least that there is.
local function rate_of(self, s)
  local plain = slope(self.passed, s.passed_at, s.passed, RATE)
  local first = s.now - s.busy
  if s.seconds - s.busy >= GAP and s.runs > 0 and s.passed_at >= s.now - s.seconds then
    -- When it began there were fewer by those of the span that are in `passed`: as far as they came before passed_at.
    local before = self.begins[#self.begins]
    if before and first - before.at > RATE then self.begins, self.of_bursts = {}, nil end -- that was other traffic
    local own = s.runs * math.min(math.max(0, s.passed_at - first) / s.busy, 1)
    self.of_bursts = slope(self.begins, first, s.passed - own, FROM_BURST) or self.of_bursts
  end
  local last = self.begins[#self.begins]
  if not last or s.passed_at - last.at > RATE then return plain, plain ~= nil end
  local elapsed = s.passed_at - last.at
  local since = (s.passed - last.count) / math.max(FROM_BURST, elapsed)
  return math.max(self.of_bursts or 0, since), self.of_bursts ~= nil or elapsed >= FROM_BURST
end

--- What the process has used before counts no more.
function Gauge:anew() self.used = {} end

--- `s`: budget.lua's sample; window: length of the level's windows. → { cost (ns a packet; nil: too few packets to
--- say), programs, cpu (shares of a core: of the programs; of the process too), known (whether the process's share was
--- measured since the last change, else it is that of before), guess (whether there is one of before), rate (packets a
--- second) }
function Gauge:measure(s, window)
  local own = slope(self.used, s.now, s.used, math.min(math.max(AVERAGE, window), LONGEST_AVERAGE))
  self.own = own or self.own
  local rate, whole = rate_of(self, s)
  self.rate, self.whole = rate or self.rate, rate and whole or self.whole
  local enough, cost = s.runs >= ENOUGH, s.ns / math.max(s.runs, 1)
  -- A span that found few packets has lasted its time, so that it says how often they come.
  local programs = (enough and cost * (self.rate or 0) or s.ns / s.seconds) / 1e9
  local rated = not enough or self.whole
  return {
    cost = enough and s.runs >= FEW * s.busy and cost or nil,
    programs = programs, cpu = programs + (self.own or 0),
    known = rated and own ~= nil or false, guess = rated and self.own ~= nil or false,
    rate = self.rate or 0,
  }
end

--- The mean of what several samples said.
function gauge.mean(list)
  local last, with = list[#list], 0
  local out = { programs = 0, cpu = 0, known = last.known, guess = last.guess, rate = last.rate }
  for _, m in ipairs(list) do
    if m.cost then out.cost, with = (out.cost or 0) + m.cost, with + 1 end
    out.programs, out.cpu = out.programs + m.programs / #list, out.cpu + m.cpu / #list
  end
  out.cost = out.cost and out.cost / with
  return out
end

return gauge
