-- SPDX-License-Identifier: Apache-2.0
-- Measures what a policy costs while it runs, and lets its budget decide: spans of the kernel's run statistics, on a
-- worker, twice a second, and many times a second while something is being decided.
--
-- The statistics cost some 100 ns a run while they are on, and nothing where nothing runs. So a span ends once enough
-- runs were seen, and until then it waits for them: traffic may come in bursts, as seldom as once a second. The pauses
-- between spans are never twice the same, so that none keeps step with the traffic or with the windows. A span in which
-- the level or what is given up has changed says nothing, and the next one takes its place.
local budget_apply = require "perilune.engine.budget_apply"
local loop = require "perilune.core.loop"

local meter = {}

local Meter = {}
Meter.__index = Meter

local UNTIL = { runs = 256, least = 0.002, most = 1.1 }
local AGAIN = 0.01 -- seconds, when a span said nothing
local PATIENCE = 5 -- how often a span waits for AGAIN until how many packets there were can be read
local SPREAD = 0.5 -- of a pause: by how much one differs from another
local GOLDEN = (math.sqrt(5) - 1) / 2 -- multiples of it leave no part of the unit out for long

--- `options`: decl (with a budget), probe, programs (names of the root programs), engine, emit = function(event),
--- force = function(): what the kernel runs: { level (index from 1) }, another table after every change of it;
--- draining = function(): whether a window that has ended is yet to be added to the engine's totals.
function meter.new(options)
  local self = setmetatable({
    decl = options.decl, probe = options.probe, programs = options.programs, engine = options.engine,
    emit = options.emit, force = options.force, draining = options.draining,
    budget = budget_apply.new(options.decl), pauses = 0,
  }, Meter)
  self.timer = loop.timer(function() self:look() end)
  return self
end

-- The next span begins in about so many seconds.
function Meter:pause(seconds)
  self.pauses = self.pauses + 1
  self.timer:start(loop.now() + seconds * (1 - SPREAD / 2 + SPREAD * (self.pauses * GOLDEN % 1)))
end

function Meter:start() self:pause(AGAIN) end

function Meter:stop()
  if self.stopped then return end
  self.stopped = true
  self.timer:close()
  if self.measuring then self.probe:end_span() end
end

--- The level or what is given up has changed: the span that goes on says nothing, so it need not.
function Meter:changed()
  if self.measuring then self.probe:end_span() end
end

-- A budget that cannot be measured is not kept, and that is said once.
function Meter:fail(message, hint)
  self:stop()
  self.emit { event = "error", message = "the budget is not kept: " .. message, hint = hint }
end

function Meter:look()
  local waiting = self.waiting
  if waiting then
    self.waiting = nil
    return self:take(waiting.span, waiting.force, waiting.tries + 1)
  end
  local force = self.force()
  local ok, message = self.probe:measure(self.programs, UNTIL, function(span, failure)
    self.measuring = false
    if self.stopped then return end
    if not span then return self:fail(failure, "perilune doctor says what is missing") end
    self:take(span, force, 0)
  end)
  self.measuring = ok
  if not ok then self:fail(message) end
end

-- While a window that has ended is read, how many packets there have been is not known; that is over soon.
function Meter:take(span, force, tries)
  if self.force() ~= force then return self:pause(AGAIN) end
  if not self.draining() or tries == PATIENCE then return self:judge(span, force) end
  self.waiting = { span = span, force = force, tries = tries }
  self.timer:start(loop.now() + AGAIN)
end

-- How many packets hooks had seen by when (of the loop's clock): by now, or while a window is read, until it began.
function Meter:passed()
  local batch = not self.draining() and self.probe:look(1)
  return self.engine:passed(batch), batch and loop.now() or self.engine.current.mono
end

function Meter:judge(span, force)
  self.span = span
  local passed, at = self:passed()
  local out = self.budget:sample {
    now = span.now, used = span.used, runs = span.runs, ns = span.ns, seconds = span.seconds, busy = span.busy,
    level = force.level, wanted = self.engine:wanted(), passed = passed, passed_at = at,
  }
  self:pause(out.next)
  budget_apply.follow(self.budget, out, self.engine, self.emit)
end

--- What a packet cost at a level (its index) when it was in force last, ns; nil: not known.
function Meter:cost(level) return self.budget.costs[level] end

return meter
