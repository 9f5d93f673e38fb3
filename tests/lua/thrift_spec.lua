-- SPDX-License-Identifier: Apache-2.0
-- How probes are sampled, what follows load, and what the programs are made to ask of each packet.
local plan = require "perilune.build.plan"
local policy = require "perilune.policy"
local sampling = require "perilune.probe.sampling"
local template = require "perilune.probe.template"
local thrift = require "perilune.engine.thrift"

local templates = template.registry({ "templates" }, function() return { "counter", "flows" } end)

local function declared(body)
  return policy.load { name = "p.lua", templates = templates,
    source = ('return policy "x" { attach = { iface = "lo", hook = "tc.ingress" }, %s }'):format(body) }
end

local function source_of(body)
  return plan.build(assert(declared(body)), {
    share = "/share", filter = function(_, name) return ("/* %s */\n"):format(name) end,
  }).source
end

-- What a level does with a packet, one line each.
local function tests_of(body, level)
  local text = source_of(body):match("tc_templates_" .. (level or "base") .. "%(.-{\n(.-)}")
  return (text:gsub("\n\t\t", " "):gsub("\t", ""):gsub("^%(void%)ctx;\n", ""):gsub("\n$", ""))
end

describe("sample", function()
  it("is a number, auto, or how far it may go", function()
    assert.same({ one_in = 10, live = false }, sampling.parse(10))
    assert.same({ one_in = 1, live = true }, sampling.parse "auto")
    assert.same({ one_in = 10, to = 640, live = true }, sampling.parse { from = 10, to = 640 })
    assert.same({ one_in = 1, target = 10000, to = 1000, live = true }, sampling.parse { target = "10k/s", to = 1000 })
  end)

  it("says what is wrong with anything else", function()
    local function wrong(value)
      local parsed, message, remedy = sampling.parse(value)
      assert.is_nil(parsed)
      return ("%s (%s)"):format(message, remedy)
    end
    assert.equal('expected a count, got "often" (write it like 1000, or like 10, "auto", { from = 1, to = 64 })', wrong "often")
    assert.truthy(wrong(0):find("too small", 1, true))
    assert.truthy(wrong({ from = 10, to = 12 }):find("there is nothing between", 1, true))
    assert.truthy(wrong({ tp = 12 }):find("to", 1, true))
    assert.truthy(wrong({ target = "10s" }):find("expected a rate", 1, true))
  end)

  it("can be doubled so often", function()
    assert.equal(0, sampling.halvings(nil, true))
    assert.equal(0, sampling.halvings(sampling.parse(10), false))
    assert.equal(10, sampling.halvings(sampling.parse(10), true))
    assert.equal(6, sampling.halvings(sampling.parse { from = 10, to = 640 }, true))
    assert.equal(5, sampling.halvings(sampling.parse { from = 10, to = 639 }, true))
    local probe = { sample = { one_in = 10 }, halvings = 3 }
    assert.same({ 10, 40, 80, 80 },
      { sampling.rate(probe, 0), sampling.rate(probe, 2), sampling.rate(probe, 3), sampling.rate(probe, 9) })
    assert.equal(1, sampling.rate({ halvings = 0 }, 5))
  end)
end)

describe("a program", function()
  it("asks nothing of a packet for a probe that sees all", function()
    assert.equal("totals_on_packet(p);", tests_of 'always = { counter "totals" {} }')
    local source = source_of 'always = { counter "totals" {} }'
    assert.is_nil(source:find("HOOK_BUDGET", 1, true))
    assert.is_nil(source:find("HOOK_SAMPLES", 1, true))
    assert.truthy(source:find("#define PROBE_SAMPLED 0", 1, true))
  end)

  it("takes a fixed rate as a number, and one that may change from the state", function()
    assert.equal("if ((p->weight = sample__weight(&sampler_of_some, p, 10, true))) some_on_packet(p);",
      tests_of 'always = { counter "some" { sample = 10 } }')
    local target = 'always = { counter "some" { sample = { from = 2, to = 64, target = "1k/s" } }, counter "all" {} }'
    assert.equal("if ((p->weight = sample__weight(&sampler_of_some, p, sample__rate(2, p->thin, 5), false))) "
      .. "some_on_packet(p);\nall_on_packet(p);", tests_of(target))
    local source = source_of(target)
    assert.truthy(source:find("#define HOOK_BUDGET\n", 1, true))
    assert.truthy(source:find("#define HOOK_SAMPLES\n", 1, true))
    assert.is_nil(source_of('always = { counter "some" { sample = 10 } }'):find("HOOK_BUDGET", 1, true))
  end)

  it("needs TCP's flags of a packet where it samples", function()
    assert.truthy(source_of('always = { counter "some" { sample = 10 } }'):find("tc_level_base, NEED_TRANSPORT,", 1, true))
  end)
end)

describe("what follows load", function()
  local decl = assert(declared 'always = { counter "some" { sample = { to = 64, target = "1k/s" } }, counter "all" {} }')

  it("looks at no more packets than the target, and at more when there are fewer", function()
    local t = thrift.new(decl)
    local function rate(load)
      t:follow { some = load }
      return thrift.rate(decl.probes[1], t:state())
    end
    assert.same({ 1, 1, 2, 16, 64, 64, 16, 1 },
      { rate(0), rate(1000), rate(1001), rate(15000), rate(60000), rate(1e9), rate(12000), rate(10) })
    assert.equal(1, thrift.rate(decl.probes[2], t:state()))
  end)

  it("does not go to and fro", function()
    local t, last, changes = thrift.new(decl), nil, 0
    for i = 1, 1000 do
      t:follow { some = 4000 + 300 * math.sin(i) }
      if t:state() ~= last then changes, last = changes + 1, t:state() end
    end
    assert.is_true(changes <= 3)
  end)

  it("is not told to the window that has begun", function()
    local t = thrift.new(decl)
    local before = t:state()
    t:follow { some = 15000 }
    assert.same({ thin = 0, mask = 0, shed = {}, given = { thin = 0, shed = {} } }, before)
    assert.is_nil(t:cut(before))
  end)
end)
