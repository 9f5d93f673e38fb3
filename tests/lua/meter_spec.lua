-- SPDX-License-Identifier: Apache-2.0
-- The meter as it measures while a policy runs, on a simulated clock: spans as runtime/kernel/statistics.c has them, of
-- traffic that comes smoothly or in bursts, with windows that close and take a while to be read.

-- A world with a clock and timers, in which programs run: at(seconds) → packets that have come until then.
local World = {}
World.__index = World

local function world(fields)
  local self = setmetatable({ now = 0, timers = {}, cost = 400, level = 1, events = {}, given = {}, spans = 0, on = 0,
    own = 0 }, World)
  for key, value in pairs(fields) do self[key] = value end
  return self
end

function World:timer(callback)
  local timer = { callback = callback }
  function timer.start(t, at) t.at = at end
  function timer.stop(t) t.at = nil end
  timer.close = timer.stop
  self.timers[#self.timers + 1] = timer
  return timer
end

-- Runs what is due, in order, until `till`.
function World:run(till)
  while true do
    local first
    for _, timer in ipairs(self.timers) do
      if timer.at and timer.at <= till and (not first or timer.at < first.at) then first = timer end
    end
    if not first then break end
    self.now = math.max(self.now, first.at)
    first.at = nil
    first.callback()
  end
  self.now = till
end

function World:packets(at) return at > self.begin and math.floor(self.at(at - self.begin)) or 0 end

-- A span, which looks at the counters ever more rarely as long as nothing runs.
function World:measure(limits, done)
  local start, look, stop, runs, quiet = self.now, 0.0005, false, 0, 0
  local first, timer = self:packets(start), nil
  timer = self:timer(function()
    local before = self.before or start
    if runs == 0 then quiet = before - start end
    self.before = self.now
    local seconds = self.now - start
    runs = self:packets(self.now) - first
    if stop or seconds >= limits.most or seconds >= limits.least and runs >= limits.runs then
      self.on = self.on + seconds
      return done { runs = runs, ns = runs * self.cost, seconds = seconds, busy = seconds - quiet, now = self.now,
        used = self.now * self.own }
    end
    if runs == 0 then look = math.min(look * 1.25, 0.01) end
    timer:start(self.now + look)
  end)
  timer:start(self.now + look)
  self.spans, self.before = self.spans + 1, nil
  self.end_span = function() stop = true end
  return true
end

local saved

-- A meter of the policy `decl` in the world.
local function metered(w, decl)
  package.loaded["perilune.core.loop"] = { now = function() return w.now end, timer = function(f) return w:timer(f) end }
  package.loaded["perilune.run.meter"] = nil
  local meter = require "perilune.run.meter"
  local closed, closed_at, draining = 0, 0, false
  local force = { level = w.level }
  local engine = { totals = { skbs = 0 }, current = { seq = 1, mono = 0 } }
  function engine.passed(_, batch) return engine.totals.skbs + (batch or 0) end
  function engine.wanted() return w.level end
  function engine.give(_, thin, shed, cap)
    w.given[#w.given + 1] = { thin = thin, shed = shed, cap = cap, at = w.now }
    w.cost = w.spend(thin, shed)
    force = { level = w.level }
  end
  local probe = {
    measure = function(_, _, limits, done) return w:measure(limits, done) end,
    end_span = function() w.end_span() end,
    look = function() return w:packets(w.now) - closed end,
  }
  local read
  local window = w:timer(function() read() end)
  local reading = w:timer(function()
    engine.totals.skbs, engine.current.mono, draining = closed, closed_at, false
  end)
  function read() -- closes, and is being read for 20 ms
    closed, closed_at, draining = w:packets(w.now), w.now, true
    reading:start(w.now + 0.02)
    window:start(w.now + w.window)
  end
  window:start(w.window)
  local made = meter.new { decl = decl, probe = probe, programs = { "root" }, engine = engine,
    emit = function(e) e.at = w.now; w.events[#w.events + 1] = e end, force = function() return force end,
    draining = function() return draining end }
  made:start()
  return made
end

-- A burst of each period's packets, at `speed` a second, `phase` seconds after the period's begin.
local function bursts(rate, speed, period, phase)
  return function(at)
    local whole = math.floor(at / period)
    local inside = at - whole * period - phase
    return whole * rate * period + math.min(math.max(inside, 0) * speed, rate * period)
  end
end

local function smooth(rate)
  return function(at) return at * rate end
end

local function decl_of(limits, window)
  return { levels = { { name = "calm", window = window, probes = { "all", "more" } } }, probes = {
    { name = "all", halvings = 10 }, { name = "more", halvings = 0 } },
    budget = { cost = limits.cost, cpu = limits.cpu, shed = { "more" } } }
end

-- 40 ns at least, 200 that can be thinned, 160 that can be shed.
local function spend(thin, shed) return 40 + 200 / 2 ^ thin + (shed[1] and 0 or 160) end

-- When, after the traffic's begin, the budget settled under its limit.
local function settled(w, limit)
  for _, e in ipairs(w.events) do
    if e.what == "settled" and e.cost <= limit then return e.at - w.begin end
  end
end

describe("a meter", function()
  setup(function()
    saved = {}
    for _, name in ipairs { "core.loop", "run.meter" } do
      saved["perilune." .. name] = package.loaded["perilune." .. name] or false
    end
  end)
  teardown(function()
    for name, value in pairs(saved) do package.loaded[name] = value or nil end
  end)

  it("has a policy under its cost three seconds after the traffic's begin, smooth or in bursts", function()
    for i = 0, 40 do
      for _, traffic in ipairs { smooth(20000), bursts(20000, 250000, 1, 0), bursts(20000, 500000, 0.1, 0.05) } do
        local w = world { begin = 3 + i / 40, at = traffic, window = 1, spend = spend }
        metered(w, decl_of({ cost = 150 }, 1))
        w:run(w.begin + 10)
        local at = settled(w, 150)
        assert.is_true(at and at <= 3, ("phase %d: %s"):format(i, tostring(at)))
      end
    end
  end)

  it("sees bursts that are short and seldom", function()
    for i = 0, 20 do
      local w = world { begin = 3 + i / 20, at = bursts(5000, 1e6, 1, 0.3), window = 0.1, spend = spend }
      metered(w, decl_of({ cost = 150 }, 0.1))
      w:run(w.begin + 30)
      assert.is_truthy(settled(w, 150), ("phase %d"):format(i))
    end
  end)

  it("does not take a burst's speed for the rate", function()
    for i = 0, 40 do
      -- 1.2 % of a core on average, 20 % while a burst lasts.
      local w = world { begin = 3 + i / 40, at = bursts(30000, 500000, 1, 0), window = 1, spend = spend }
      metered(w, decl_of({ cpu = 0.03 }, 1))
      w:run(w.begin + 30)
      assert.same({}, w.events)
    end
  end)

  it("has a policy under its share of a core three seconds after the traffic's begin, when that is steady", function()
    for i = 0, 20 do
      local w = world { begin = 3 + i / 20, at = smooth(100000), window = 1, own = 0.005, spend = spend }
      metered(w, decl_of({ cpu = 0.02 }, 1)) -- it would be 4.5 %
      w:run(w.begin + 5)
      local last = w.events[#w.events]
      assert.equal("settled", last.what)
      assert.is_true(last.cpu <= 0.02 and last.at - w.begin <= 3, ("%s %s"):format(last.cpu, last.at - w.begin))
    end
  end)

  -- When, after the traffic's begin, what was in force had the policy's share of a core under its limit.
  local function under(w, limit, rate)
    for _, given in ipairs(w.given) do
      if w.spend(given.thin, given.shed) * rate / 1e9 + w.own <= limit then return given.at - w.begin end
    end
  end

  it("has it under that in bursts too, wherever they begin in a window", function()
    local RATE, SPEED = 40000, 500000
    for i = 0, 40 do
      for _, period in ipairs { 1, 0.5, 0.7, 0.1 } do
        for _, own in ipairs { 0, 0.0008 } do
          local limit = 0.006 -- it would be 1.6 %
          local w = world { begin = 3.011 + i / 40, at = bursts(RATE, SPEED, period, 0), window = 1, own = own, spend = spend }
          metered(w, decl_of({ cpu = limit }, 1))
          w:run(w.begin + 6)
          local at = under(w, limit, RATE)
          assert.is_true(at and at <= 3, ("phase %d, a burst every %g s: %s"):format(i, period, tostring(at)))
          local last = w.given[#w.given]
          assert.is_true(last.thin <= 3, ("phase %d, a burst every %g s: thinned 2^%d"):format(i, period, last.thin))
        end
      end
    end
  end)

  it("knows the rate whatever the windows' length", function()
    for _, window in ipairs { 0.1, 1, 60 } do
      local w = world { begin = 3, at = bursts(100000, 1e6, 0.5, 0.1), window = window, spend = spend }
      metered(w, decl_of({ cpu = 0.02 }, window)) -- it would be 4 %
      w:run(w.begin + 4)
      assert.equal("thin", w.events[1].what)
      assert.is_true(w.events[1].cpu > 0.02 and w.events[1].cpu < 0.055, tostring(w.events[1].cpu))
      assert.is_true(w.events[1].at - w.begin < 3)
    end
  end)

  it("gives back when nothing passes any more", function()
    local stop = 20
    local traffic = bursts(20000, 250000, 1, 0)
    local w = world { begin = 1, window = 1, spend = spend, at = function(at) return traffic(math.min(at, stop)) end }
    metered(w, decl_of({ cost = 150 }, 1))
    w:run(w.begin + stop + 15)
    local last = w.given[#w.given]
    assert.same({ 0, {} }, { last.thin, last.shed })
  end)

  it("does not give back in the pauses between bursts", function()
    local w = world { begin = 1, window = 1, spend = spend, at = bursts(20000, 250000, 2, 0) }
    metered(w, decl_of({ cost = 150 }, 1))
    w:run(60)
    for _, e in ipairs(w.events) do assert.not_equal("back", e.what) end
    assert.is_truthy(settled(w, 150))
  end)

  it("has the statistics on for a small part of the time, unless there is nothing to wait for", function()
    local w = world { begin = 0, at = smooth(50000), window = 1, spend = spend }
    metered(w, decl_of({ cost = 1000 }, 1))
    w:run(100)
    assert.is_true(w.on < 1.5, tostring(w.on)) -- 256 packets twice a second take 10 ms
    assert.is_true(w.spans > 160 and w.spans < 250, tostring(w.spans))
  end)

  it("ends its span when it stops", function()
    local w = world { begin = 100, at = smooth(1), window = 1, spend = spend }
    local made = metered(w, decl_of({ cost = 100 }, 1))
    w:run(0.5)
    assert.equal(0, w.on)
    made:stop()
    w:run(2)
    assert.is_true(w.on > 0 and w.on < 0.6)
    assert.equal(1, w.spans)
  end)
end)
