-- SPDX-License-Identifier: Apache-2.0
-- The shipped examples, judged on counters as a replayed flood, its answers and plain traffic make them.
local decide = require "perilune.engine.decide"
local ladder = require "perilune.engine.ladder"
local policy = require "perilune.policy"

local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local templates = dofile(HERE .. "/fake_templates.lua")

local function example(name, set)
  return assert(policy.load { file = HERE .. "/../../examples/" .. name .. ".lua", templates = templates, set = set })
end

-- Flows of one second: src, dst, packets, and how many of them are SYNs and SYN/ACKs.
local function ordinary()
  return {
    { src = "10.0.0.1", dst = "10.0.0.2", packets = 4000, syn = 40, syn_ack = 0 },
    { src = "10.0.0.2", dst = "10.0.0.1", packets = 6000, syn = 40, syn_ack = 40 },
  }
end

local function with_flood(rate)
  local flows = ordinary()
  flows[3] = { src = "172.16.0.5", dst = "192.168.50.4", packets = rate * 0.71, syn = rate * 0.71, syn_ack = 0 }
  flows[4] = { src = "192.168.50.4", dst = "172.16.0.5", packets = rate * 0.29, syn = 0, syn_ack = 0 }
  return flows
end

local function with_udp(rate)
  local flows = ordinary()
  flows[3] = { src = "172.16.0.5", dst = "192.168.50.4", packets = rate, syn = 0, syn_ack = 0 }
  return flows
end

local function observed_at(level)
  local runs = {}
  for _, probe in ipairs(level.probes) do runs[probe] = true end
  return runs
end

local function sample_of(flows, level, now)
  local share = level.window
  local sample = {
    seq = 1, start = now, finish = now + share, seconds = share, level = level.name, decisive = true,
    observed = observed_at(level), text = function(_, _, raw) return raw end,
  }
  function sample.total(_, field)
    local sum = 0
    for _, flow in ipairs(flows) do sum = sum + (flow[field] or 0) * share end
    return sum
  end
  function sample.groups(_, key, fields)
    local groups = {}
    for _, flow in ipairs(flows) do
      local group = groups[flow[key]] or { n = 0 }
      groups[flow[key]], group.n = group, group.n + 1
      for _, field in ipairs(fields) do group[field] = (group[field] or 0) + flow[field] * share end
    end
    return groups
  end
  return sample
end

-- Runs a policy over stretches of traffic { seconds, flows }. Returns its levels in order, when each began, and the sets as
-- they were fullest.
local function run(decl, stretches)
  local d, l = decide.new(decl), ladder.new(decl.levels)
  local now, levels, times, members = 0, { l:level() }, { 0 }, {}
  for _, stretch in ipairs(stretches) do
    local stop = now + stretch[1]
    while now < stop - 1e-9 do
      local level = decl.levels[l:index()]
      local result = d:step(sample_of(stretch[2], level, now))
      now = now + level.window
      assert.same({}, result.errors)
      for _, action in ipairs(result.actions) do
        if action.act == "add" and not action.undo then members[#members + 1] = action.set .. " " .. action.member end
      end
      local change = l:step { now = now, holds = result.holds }
      if change then
        levels[#levels + 1], times[#times + 1] = change.to, now
      end
    end
  end
  return levels, times, members, d
end

describe("examples/syn_flood.lua", function()
  for _, rate in ipairs { 2000, 4000 } do
    it(("finds the flood at %d packets a second, and backs off"):format(rate), function()
      local decl = example("syn_flood", { quiet = "2s" })
      local levels, times, members, d = run(decl, { { 5, ordinary() }, { 5, with_flood(rate) }, { 10, ordinary() } })
      assert.same({ "calm", "alert", "siege" }, { levels[1], levels[2], levels[3] })
      assert.equal("calm", levels[#levels])
      assert.is_true(times[3] < 6.5, "siege began at " .. times[3])
      assert.is_true(times[#times] > 11.9 and times[#times] < 14, "calm again at " .. times[#times])
      assert.same({ "victims 192.168.50.4", "attackers 172.16.0.5" }, members)
      assert.same({ victims = {}, attackers = {} }, d:sets())
    end)
  end

  it("stays calm under ordinary traffic and plain UDP at the same rate", function()
    local decl = example "syn_flood"
    assert.same({ "calm" }, (run(decl, { { 30, ordinary() } })))
    assert.same({ "calm" }, (run(decl, { { 5, ordinary() }, { 30, with_udp(4000) } })))
  end)

  it("holds its levels for as long as the flood lasts", function()
    local levels = run(example "syn_flood", { { 5, ordinary() }, { 120, with_flood(3000) } })
    assert.same({ "calm", "alert", "siege" }, levels)
  end)

  it("leaves siege after its longest, without swinging back", function()
    local levels, times = run(example "syn_flood", { { 5, ordinary() }, { 1300, with_flood(3000) } })
    assert.same({ "calm", "alert", "siege", "alert" }, levels)
    assert.is_true(math.abs(times[4] - times[3] - 600) < 0.2)
  end)

  it("has the options that scripts rely on", function()
    local decl = example("syn_flood", { iface = "vb", hook = "xdp", surge = "5k/s", quiet = "1s" })
    assert.same({ iface = { "vb" }, hook = "xdp", mode = "auto" }, decl.attach)
    assert.equal(5000, decl.rules[1].when[1][1].threshold.value)
    assert.is_nil(example("syn_flood").attach.iface)
    assert.equal("tc.ingress", example("syn_flood").attach.hook)
  end)
end)

describe("examples/packet_counter.lua", function()
  it("is one counter at one level", function()
    local decl = example "packet_counter"
    assert.same({ hook = "tc", mode = "auto" }, decl.attach)
    assert.equal(1, #decl.probes)
    assert.equal("counter", decl.probes[1].template)
    assert.equal(1, #decl.levels)
    assert.equal(1, decl.levels[1].window)
  end)

  it("has the options that scripts rely on", function()
    for _, hook in ipairs { "xdp", "tc.ingress", "tc.egress", "tc" } do
      local decl = example("packet_counter", { iface = "vb", hook = hook, window = "20ms" })
      assert.same({ iface = { "vb" }, hook = hook, mode = "auto" }, decl.attach)
      assert.equal(0.02, decl.levels[1].window)
    end
  end)
end)
