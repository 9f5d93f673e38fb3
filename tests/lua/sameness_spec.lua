-- SPDX-License-Identifier: Apache-2.0
-- What goes on when a policy is loaded anew.
local decide = require "perilune.decide"
local levels = require "perilune.levels"
local members = require "perilune.members"
local policy = require "perilune.policy"
local sameness = require "perilune.sameness"

local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local templates = dofile(HERE .. "/fake_templates.lua")

local function load(rules, sets, key)
  return assert(policy.load { name = "p.lua", templates = templates, source = ([[
    local to = flows "to" { key = "%s" }
    return policy "p" { always = { counter "totals" {}, to }, levels = { level "calm" {}, level "alert" {} },
      sets = { %s }, rules = { %s } }]]):format(key or "dst", sets or "", rules) })
end

local BUSY = [[rule "busy" { when = rate("totals.packets"):above "%s", clear = rate("totals.packets"):below "1/s", hold = "alert" },]]
local SETS = [[set "victims" { of = "dst", max = 4, ttl = "10s" }]]
local VICTIM = [[rule "victim" { per = "to.dst", when = rate("to.packets"):above "9/s", act = { add "victims" } },]]

describe("what means the same", function()
  it("is what is written the same, wherever it stands", function()
    local old = load(BUSY:format "5/s" .. VICTIM, SETS)
    local new = load("\n\n" .. VICTIM .. BUSY:format "5/s", SETS)
    assert.same({ kept = { "set victims", "rule busy", "rule victim" }, lost = {}, rules = { busy = true, victim = true },
      sets = { victims = true } }, sameness.of(old, new))
  end)

  it("is not another threshold, another probe, another kind of set, or a function", function()
    local old = load(BUSY:format "5/s" .. VICTIM, SETS)
    assert.same({ "rule busy" }, sameness.of(old, load(BUSY:format "6/s" .. VICTIM, SETS)).lost)
    assert.same({ "rule victim" }, sameness.of(old, load(BUSY:format "5/s", SETS)).lost)
    local other = load(BUSY:format "5/s" .. VICTIM:gsub("dst", "dst"), SETS, '5tuple')
    assert.same({ "rule victim" }, sameness.of(old, other).lost)
    local called = [[rule "f" { when = function(w) return w.seq > 3 end, act = { log } },]]
    assert.same({ "rule f" }, sameness.of(load(called), load(called)).lost)
  end)
end)

describe("taking over", function()
  local function grouped(packets)
    return {
      seconds = 1, start = 0, finish = 1, observed = { totals = true, to = true }, total = function() return packets end,
      groups = function() return { ["\1"] = { n = 1, packets = packets } }, 1 end, text = function() return "10.0.0.1" end,
      rows = function() return 1 end,
    }
  end

  it("keeps instances that fire and their members, and nothing of what is not the same", function()
    local old, new = load(BUSY:format "5/s" .. VICTIM, SETS), load(BUSY:format "6/s" .. VICTIM, SETS)
    local before, after = decide.new(old), decide.new(new)
    before:step(grouped(100))
    assert.same({ alert = { "busy" } }, before.holds)
    after:inherit(before, sameness.of(old, new))
    assert.same({}, after.holds)
    assert.same({ "10.0.0.1" }, { after:sets().victims[1].member })
    assert.equal(before:sets().victims[1].expires, after:sets().victims[1].expires)
    local result = after:step(grouped(100))
    assert.same({ "busy" }, { result.rules[1].rule, result.rules[2] and result.rules[2].rule })
    assert.same({}, result.actions)
  end)

  it("makes no member of one that nobody wants any more, nor more than there is room for", function()
    local a, b = members.new { name = "s", max = 9, ttl = 10 }, members.new { name = "s", max = 1, ttl = 10 }
    a:add("x", "gone", 0)
    a:add("y", "kept", 1)
    a:add("z", "kept", 2)
    b:inherit(a, { kept = true })
    assert.same({ { member = "y", since = 1, expires = 11 } }, b:list())
  end)

  it("stays at the level in force, as long as before, and keeps a pin", function()
    local old = levels.new { { name = "calm" }, { name = "siege", longest = 60, lease = 60 } }
    old:claim("pin", { hold = "siege", cap = "siege", expires = 500 })
    old:judge(100, {}, {})
    local new = levels.new { { name = "calm" }, { name = "alert" }, { name = "siege", longest = 90, lease = 90 } }
    assert.is_true(new:inherit(old, {}, { "pin" }))
    assert.same({ 3, 190 }, { new:index(), new:due() })
    assert.is_nil(new:reconsider(150))
    assert.is_false(levels.new({ { name = "calm" } }):inherit(old, {}, { "pin" }))
  end)
end)
