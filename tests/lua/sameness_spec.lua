-- SPDX-License-Identifier: Apache-2.0
-- What goes on when a policy is loaded anew.
local decide = require "perilune.engine.decide"
local levels = require "perilune.engine.levels"
local members = require "perilune.engine.members"
local policy = require "perilune.policy"
local sameness = require "perilune.policy.sameness"

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
      sets = { victims = true }, probes = { totals = true, to = true }, equal = sameness.equal }, sameness.of(old, new))
  end)

  it("is not another threshold, another probe, or another kind of set", function()
    local old = load(BUSY:format "5/s" .. VICTIM, SETS)
    assert.same({ "rule busy" }, sameness.of(old, load(BUSY:format "6/s" .. VICTIM, SETS)).lost)
    assert.same({ "rule victim" }, sameness.of(old, load(BUSY:format "5/s", SETS)).lost)
    local other = load(BUSY:format "5/s" .. VICTIM:gsub("dst", "dst"), SETS, '5tuple')
    assert.same({ "rule victim" }, sameness.of(old, other).lost)
  end)

  it("is a function of the same code that finds the same around it, wherever it stands", function()
    local function called(around, code, above)
      return assert(policy.load { name = "p.lua", templates = templates, source = (above or "") .. ([[
        %s
        local limit = option "limit" { default = "5/s" }
        local function inner(w) return w.seq end
        return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {} },
          rules = { rule "f" { when = function(w) %s end, act = { log } } } }]]):format(around, code) })
    end
    local function kept(a, b) return sameness.of(a, b).rules.f end
    local code = "return inner(w) > known.at.line and w:rate 'totals.packets' > limit"
    local known = "local known = { at = { line = 3 }, list = { 'a', 'b' } }"
    assert.is_true(kept(called(known, code), called(known, code)))
    assert.is_true(kept(called(known, code), called(known, code, "-- a line\n\n")))
    assert.is_nil(kept(called(known, code), called(known, (code:gsub(">", "<")))))
    assert.is_nil(kept(called(known, code), called((known:gsub("3", "4")), code)))
    assert.is_nil(kept(called(known, code), called("local known = { at = { line = '3' } }", code)))
    assert.is_nil(kept(called(known, code), called(known .. " known.self = known", code)))
    local many = "local known = { at = { line = 3 } } for i = 1, 30000 do known[i] = {} end"
    assert.is_nil(kept(called(many, code), called(many, code))) -- too much to be looked at
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

  it("clears what does not go on, with its acts, and says why", function()
    local old, new = load(BUSY:format "5/s" .. VICTIM, SETS), load(BUSY:format "5/s", SETS)
    local before, after, same = decide.new(old), decide.new(new), sameness.of(old, new)
    before:step(grouped(100))
    local result, held = before:abandon(same.rules)
    assert.is_false(held)
    assert.same({ { "victim", "10.0.0.1", "cleared", "reload" } }, { { result.rules[1].rule, result.rules[1].key,
      result.rules[1].state, result.rules[1].why } })
    assert.matches("^victim 10%.0%.0%.1: the policy was loaded anew", result.rules[1].reason)
    assert.same({ { "add", "victims", "10.0.0.1", true } }, { { result.actions[1].act, result.actions[1].set,
      result.actions[1].member, result.actions[1].undo } })
    assert.same({ 1, 1 }, { #result.rules, #result.actions })
    after:inherit(before, same)
    assert.same({ alert = { "busy" } }, after.holds)
    assert.same({}, after:sets().victims)
    assert.is_true(select(2, after:abandon {}))
  end)

  it("keeps what measures remember where measure and probe are the same, though the rule is not", function()
    local rule = [[rule "r" { when = rate("totals.packets"):over "1m":above "%s", clear = rate("totals.packets"):ewma "30s":below "1/s",
      hold = "alert" }, rule "b" { when = rate("totals.packets"):baseline("1h", { warmup = "%s" }):above "500/s", act = { log } },
      rule "d" { per = "to.dst", when = sum("to.packets"):over "1m":above(%d), act = { log } },]]
    local function decider(limit, warmup, packets, key)
      local decl = load(rule:format(limit, warmup, packets), nil, key)
      return decl, decide.new(decl)
    end
    local old, before = decider("50/s", "10s", 1000)
    local sample = grouped(100)
    for i = 1, 12 do
      sample.start, sample.finish, sample.wall = i - 1, i, i
      before:step(sample)
    end
    local function figures(decl, decider_)
      decider_:inherit(before, sameness.of(old, decl))
      local out = {}
      for _, entry in ipairs(decider_.history.list) do
        for _, key in ipairs { "", "\1" } do
          local value = entry.series:value(key, 12)
          if value == value and value ~= 0 then out[#out + 1] = ("%s %s %g"):format(entry.rule, key == "" and "all" or "key", value) end
        end
      end
      return out
    end
    local kept = figures(decider("60/s", "11s", 900))
    assert.same({ "r all 1200", "r all 100", "b all 100", "d key 1200" }, kept)
    assert.same({ "r all 1200", "r all 100", "b all 100" }, figures(decider("60/s", "11s", 900, "5tuple")))
    assert.same({}, figures((function()
      local decl = load((rule:format("60/s", "11s", 900)):gsub('totals%.packets', "totals.skbs"), nil, "5tuple")
      return decl, decide.new(decl)
    end)()))
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
