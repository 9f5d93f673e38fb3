-- SPDX-License-Identifier: Apache-2.0
-- The budget against a simulated plant: levels and probes with costs, traffic with a rate, and a measurement with noise.
local budget = require "perilune.engine.budget"
local event = require "perilune.event"

local LEVELS = {
  { name = "calm", window = 1, probes = { "totals" } },
  { name = "alert", window = 1, probes = { "totals", "to" } },
  { name = "siege", window = 0.1, probes = { "totals", "to", "from" } },
}

-- A plant: costs (ns by probe), base (ns), rate (packets a second), own (share of the process), noise (share), level.
local function plant(fields)
  local self = {
    base = 30, costs = { totals = 10, to = 90, from = 120 }, rate = 100000, own = 0, noise = 0, level = 3, now = 0,
    used = 0, passed = 0, seed = 7, events = {}, changes = 0,
  }
  for key, value in pairs(fields) do self[key] = value end
  return self
end

local function random(self) -- from -1 to 1
  self.seed = (self.seed * 1103515245 + 12345) % 2 ^ 31
  return self.seed / 2 ^ 30 - 1
end

local function in_force(self, b) return math.min(self.level, b.cap or self.level) end

local function cost_of(self, b)
  local ns = self.base
  for _, name in ipairs(LEVELS[in_force(self, b)].probes) do
    if not b.shed[name] then ns = ns + self.costs[name] / (b.most[name] and 2 ^ b.thin or 1) end
  end
  return ns
end

local function share_of(self, b) return cost_of(self, b) * self.rate / 1e9 + self.own end

-- Time goes by.
local function pass(self, seconds)
  self.now, self.used = self.now + seconds, self.used + seconds * self.own
  self.passed = self.passed + seconds * self.rate
end

-- Lets the plant run for so many seconds under the budget.
local function run(self, b, seconds)
  local till = self.now + seconds
  while self.now < till do
    local span = math.min(1.1, math.max(0.002, 256 / self.rate))
    local runs = math.floor(self.rate * span)
    pass(self, span)
    local out = b:sample {
      now = self.now, used = self.used, level = in_force(self, b), wanted = self.level, runs = runs, seconds = span,
      busy = span,
      ns = runs * cost_of(self, b) * (1 + self.noise * random(self)), passed = self.passed, passed_at = self.now,
    }
    for _, e in ipairs(out.events) do
      e.policy, e.seq, e.time = "p", 1, 0
      assert.truthy(event.encode(e))
      self.events[#self.events + 1] = e
    end
    if out.changed then self.changes, self.changed = self.changes + 1, self.now end
    pass(self, out.next)
    self.most_samples = (self.most_samples or 0) + 1
  end
end

local function new(fields)
  local options = { levels = LEVELS }
  for key, value in pairs(fields) do options[key] = value end
  return budget.new(options)
end

local function what(self)
  local list = {}
  for i, e in ipairs(self.events) do list[i] = e.what end
  return table.concat(list, " ")
end

describe("a budget", function()
  it("is silent while there is room, and looks twice a second", function()
    local b, p = new { cost = 300, cpu = 0.05, thin = { to = 10 } }, plant { noise = 0.05 }
    run(p, b, 60)
    assert.same({}, p.events)
    assert.is_true(p.most_samples < 140)
  end)

  it("thins first, by as much as it takes, and says what it saved", function()
    local b, p = new { cost = 150, thin = { to = 10, from = 10 } }, plant {}
    run(p, b, 3)
    assert.is_true(cost_of(p, b) <= 150)
    assert.equal("thin settled", what(p))
    local thinned, settled = p.events[1], p.events[2]
    assert.same({ 250, 150, "siege" }, { thinned.cost, thinned.cost_limit, thinned.level })
    assert.equal(2, thinned.thin)
    assert.equal("250 ns a packet over 150: sampled probes thinned to one in 2", thinned.reason)
    assert.same({ 145, 105, 2 }, { settled.cost, settled.saved, settled.thin })
    assert.equal("145 ns a packet of 150, 105 ns a packet saved", settled.reason)
  end)

  it("thins many times at once where that much is needed", function()
    local b, p = new { cost = 45, thin = { to = 10, from = 10 } }, plant {}
    run(p, b, 3)
    assert.is_true(cost_of(p, b) <= 45)
    assert.is_true(p.changes <= 3)
  end)

  it("sheds in the policy's order when thinning cannot bring enough, and then caps", function()
    local b, p = new { cost = 45, shed = { "from", "to" } }, plant {}
    run(p, b, 3)
    assert.equal("shed settled shed settled", what(p))
    assert.same({ "from" }, p.events[1].shed)
    assert.same({ "from", "to" }, p.events[3].shed)
    b, p = new { cost = 150, shed = { "to" } }, plant { costs = { totals = 10, to = 5, from = 120 } }
    run(p, b, 3)
    assert.equal("shed settled cap settled", what(p))
    assert.equal("alert", p.events[3].cap)
    assert.is_nil(p.events[1].cap)
  end)

  it("does not thin what cannot bring it under", function()
    local b, p = new { cost = 48, thin = { to = 10 }, shed = { "from" } }, plant {}
    run(p, b, 3)
    assert.is_true(cost_of(p, b) <= 48)
    -- One try of thinning shows what it brings: not enough. After shedding it does.
    assert.truthy(what(p):find "^thin settled shed settled thin settled")
    assert.is_nil(b.cap)
  end)

  it("does not shed what does not run at the level in force", function()
    local b, p = new { cost = 100, shed = { "from", "to" } }, plant { level = 2 }
    run(p, b, 3)
    assert.same({ "to" }, b:shed_list())
  end)

  it("says once that nothing is left to give up", function()
    local b, p = new { cost = 20 }, plant { level = 2, noise = 0.1 }
    run(p, b, 30)
    assert.equal("cap settled spent", what(p))
    assert.truthy(p.events[3].reason:find "nothing left to give up")
    assert.is_true(p.most_samples < 90)
  end)

  it("is under within three seconds from wherever it was, with noise", function()
    for seed = 1, 200 do
      local p = plant { noise = 0.1, seed = seed, rate = 20000 + seed * 5000 }
      local b = new { cost = 70 + seed % 100, cpu = seed % 2 == 0 and 0.01 or nil, thin = { from = 6 },
        shed = { "from", "to" } }
      p.level = 1
      run(p, b, 5 + seed / 200)
      p.level, p.costs.from, p.costs.to = 3, 400, 150
      local begin = p.now
      run(p, b, 3)
      local share = p.rate * cost_of(p, b) / 1e9
      local fits = cost_of(p, b) <= (70 + seed % 100) * 1.1 and (seed % 2 == 1 or share <= 0.011)
      assert.is_true(fits or b.spent, ("seed %d: %.0f ns, share %.4f after %.1f s: %s"):format(seed, cost_of(p, b), share,
        p.now - begin, what(p)))
    end
  end)

  it("keeps to its CPU share, the process's own included", function()
    local b, p = new { cpu = 0.02, thin = { to = 8, from = 8 } }, plant { own = 0.005 }
    run(p, b, 6)
    assert.is_true(share_of(p, b) <= 0.02)
    assert.truthy(p.events[1].reason:find "^3 %% of a core over 2 %%")
  end)

  it("does not judge the cost of few packets", function()
    local b, p = new { cost = 50, thin = { to = 8 } }, plant { rate = 1000 }
    run(p, b, 10)
    assert.same({}, p.events)
  end)
end)

describe("a budget with room", function()
  it("gives back in reverse order", function()
    local b, p = new { cpu = 0.00401, thin = { from = 1 }, shed = { "from", "to" } }, plant {}
    run(p, b, 6)
    assert.is_true(share_of(p, b) <= 0.0041)
    assert.same({ 2, { "from", "to" } }, { 2 ^ b.thin, b:shed_list() })
    p.rate = 20000 -- all of it would be 0.005 then; with `from` thinned 0.0038
    p.events = {}
    run(p, b, 20)
    assert.same({ "from" }, b:shed_list())
    p.rate = 1000
    run(p, b, 20)
    assert.same({ 0, {} }, { b.thin, b:shed_list() })
    assert.is_nil(b.cap)
    for _, e in ipairs(p.events) do assert.equal("back", e.what) end
    assert.truthy(p.events[#p.events].reason:find "nothing given up$")
  end)

  it("does not wait for what is not known where few packets pass", function()
    local b, p = new { cost = 60, shed = { "from", "to" } }, plant {}
    run(p, b, 1)
    p.rate = 100 -- before it is measured what the last step saved
    run(p, b, 8)
    assert.same({}, b:shed_list())
  end)

  it("gives a level back when its rule no longer wants it, and when it fits", function()
    local b, p = new { cpu = 0.015 }, plant {}
    run(p, b, 4)
    assert.equal(2, b.cap)
    p.rate = 50000 -- siege would be 0.0125: it fits, but leaves too little room
    run(p, b, 10)
    assert.equal(2, b.cap)
    p.rate = 40000
    run(p, b, 4)
    assert.is_nil(b.cap)
  end)

  it("does not oscillate, however long it lasts", function()
    for seed = 1, 20 do
      local p = plant { noise = 0.2, seed = seed }
      local b = new { cost = 130 + seed, thin = { to = 6, from = 6 }, shed = { "from", "to" } }
      run(p, b, 3600)
      assert.is_true(p.changes < 40, ("seed %d: %d changes in an hour: %s"):format(seed, p.changes, what(p)))
      assert.is_true(cost_of(p, b) <= (130 + seed) * 1.15)
    end
  end)

  it("tries again, ever more rarely, what does not seem to fit", function()
    local b, p = new { cost = 140, shed = { "from" } }, plant {}
    run(p, b, 3)
    p.costs.from = 1000 -- worse than ever
    run(p, b, 3600)
    local tried = 0
    for _, e in ipairs(p.events) do tried = tried + (e.what == "back" and 1 or 0) end
    assert.is_true(tried >= 2 and tried <= 8, tostring(tried))
    p.costs.from = 0
    run(p, b, 3600)
    assert.same({}, b:shed_list())
  end)

  it("has no leaps when the level changes by itself", function()
    local b, p = new { cost = 150, thin = { to = 10, from = 10 } }, plant { noise = 0.05 }
    run(p, b, 3)
    assert.equal(1, b.thin)
    p.level = 1
    run(p, b, 10)
    assert.equal(0, b.thin) -- nothing that is thinned runs at calm
    assert.equal("thin settled back", what(p))
  end)

  it("takes the average over a window that is longer than a second", function()
    local long = { { name = "calm", window = 5, probes = { "totals" } } }
    local b = budget.new { levels = long, cpu = 0.02 }
    local used, now, events = 0, 0, {}
    for i = 1, 60 do -- 50 ms at the end of each window of 5 s: 1 % of a core
      now = now + 1
      if i % 5 == 0 then used = used + 0.05 end
      for _, e in ipairs(b:sample({ now = now, used = used, level = 1, runs = 100, ns = 100, seconds = 0.01, busy = 0.01,
        passed = 0, passed_at = now }).events) do
        events[#events + 1] = e
      end
    end
    assert.same({}, events)
  end)
end)
