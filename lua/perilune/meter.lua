-- SPDX-License-Identifier: Apache-2.0
-- Measures what a policy costs while it runs, and lets its budget decide: spans of the kernel's run statistics, on a
-- worker, once a second, and many times a second while something is being decided.
--
-- The statistics cost some 100 ns a run while they are on, which is why a span ends once enough runs were seen: after
-- 2 ms of much traffic, after 20 ms of little. A span in which the level or what is given up has changed says nothing,
-- and the next one takes its place.
local budget = require "perilune.budget"
local loop = require "perilune.core.loop"

local meter = {}

local Meter = {}
Meter.__index = Meter

local UNTIL = { runs = 256, least = 0.002, most = 0.02 }
local AGAIN = 0.1 -- seconds, when a span said nothing

local function options_of(decl)
  local thin = {}
  for _, probe in ipairs(decl.probes) do
    if probe.halvings > 0 then thin[probe.name] = probe.halvings end
  end
  return { cost = decl.budget.cost, cpu = decl.budget.cpu, shed = decl.budget.shed, levels = decl.levels, thin = thin }
end

--- `options`: decl (with a budget), probe, programs (names of the root programs), engine, emit = function(event),
--- force = function(): what the kernel runs: { level (index from 1) }, another table after every change of it.
function meter.new(options)
  local self = setmetatable({
    decl = options.decl, probe = options.probe, programs = options.programs, engine = options.engine,
    emit = options.emit, force = options.force, budget = budget.new(options_of(options.decl)),
  }, Meter)
  self.timer = loop.timer(function() self:look() end)
  return self
end

function Meter:start() self.timer:start(loop.now() + AGAIN) end

function Meter:stop()
  if self.stopped then return end
  self.stopped = true
  self.timer:close()
end

-- A budget that cannot be measured is not kept, and that is said once.
function Meter:fail(message, hint)
  self:stop()
  self.emit { event = "error", message = "the budget is not kept: " .. message, hint = hint }
end

function Meter:look()
  local force = self.force()
  local ok, message = self.probe:measure(self.programs, UNTIL, function(span, failure)
    if self.stopped then return end
    if not span then return self:fail(failure, "perilune doctor says what is missing") end
    if self.force() ~= force then return self.timer:start(loop.now() + AGAIN) end
    self:judge(span, force)
  end)
  if not ok then self:fail(message) end
end

function Meter:judge(span, force)
  self.span = span
  local out = self.budget:sample {
    now = span.now, used = span.used, runs = span.runs, ns = span.ns, seconds = span.seconds, level = force.level,
    wanted = self.engine:wanted(),
  }
  self.timer:start(loop.now() + out.next)
  local reason
  for _, event in ipairs(out.events) do
    reason = event.reason
    event.seq = self.engine.current.seq
    self.emit(event)
  end
  if out.changed and not self.stopped then
    local cap = self.budget.cap and self.decl.levels[self.budget.cap].name
    self.engine:give(self.budget.thin, self.budget:shed_list(), cap, reason)
  end
end

return meter
