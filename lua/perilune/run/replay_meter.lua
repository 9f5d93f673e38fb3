-- SPDX-License-Identifier: Apache-2.0
--
-- A replay's meter: what a policy costs is not measured but read (costs.lua), so that the same captures and the same
-- costs give the same output. Spans and pauses are those of the live one (meter.lua), on the captures' clock; of a
-- share of a core, only the programs' part is known.

local budget_apply = require "perilune.engine.budget_apply"

local replay_meter = {}

local Meter = {}
Meter.__index = Meter

local RUNS, LEAST, MOST = 256, 2000, 1100000 -- of a span: packets; µs

--- `options`: decl (with a budget), costs (costs.lua), engine, emit = function(event, wall).
function replay_meter.new(options)
  return setmetatable({
    decl = options.decl, costs = options.costs, engine = options.engine, emit = options.emit,
    budget = budget_apply.new(options.decl), passed = 0,
  }, Meter)
end

local function begin(self, wall)
  local current = self.engine.current
  self.span = { begin = wall, level = current.level, spare = current.spare, runs = 0, ns = 0 }
  self.pause = nil
end

local function judge(self, wall)
  local span, current = self.span, self.engine.current
  self.span = nil
  if span.level ~= current.level or span.spare ~= current.spare then return begin(self, wall) end
  local seconds, index = (wall - span.begin) / 1e6, nil
  for i, level in ipairs(self.decl.levels) do
    if level == span.level then index = i end
  end
  local out = self.budget:sample {
    now = wall / 1e6, used = 0, runs = span.runs, ns = span.ns, seconds = seconds,
    busy = span.first and (wall - span.first) / 1e6 or 0, level = index, wanted = self.engine:wanted(),
    passed = self.passed, passed_at = wall / 1e6,
  }
  -- With nothing to give back and nobody sending, the next packet will do.
  if span.runs > 0 or #self.budget.steps > 0 then self.pause = wall + math.floor(out.next * 1e6 + 0.5) end
  budget_apply.follow(self.budget, out, self.engine, function(event) self.emit(event, wall) end)
  return out.changed
end

--- A packet was run at `wall` (µs). Returns whether it is to be seen what follows (engine:reconsider).
function Meter:packet(wall)
  self.passed = self.passed + 1
  local span = self.span
  if not span then
    if self.pause then return false end
    begin(self, wall)
    span = self.span
  end
  span.first = span.first or wall
  span.runs, span.ns = span.runs + 1, span.ns + self.costs:ns(span.level.name, span.spare)
  return span.runs >= RUNS and wall - span.begin >= LEAST and judge(self, wall) or false
end

--- When it is to be asked though there is no packet, µs; math.huge: never.
function Meter:due() return self.pause or self.span and self.span.begin + MOST or math.huge end

--- That time has come. Returns as packet() does.
function Meter:tick(wall)
  if not self.pause then return judge(self, wall) end
  begin(self, wall)
  return false
end

return replay_meter
