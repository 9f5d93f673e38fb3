-- SPDX-License-Identifier: Apache-2.0
-- Triggers: which conditions the kernel can test, how they look in C, and what is said of those that it cannot.
local evaluate = require "perilune.engine.evaluate"
local formula = require "perilune.engine.formula"
local plan = require "perilune.build.plan"
local policy = require "perilune.policy"
local template = require "perilune.probe.template"

local templates = template.registry({ "templates" }, function() return { "counter", "flows", "icmp" } end)

local POLICY = [[
  local to = flows "to" { key = "dst" }
  local top = counter "top" { fold = { bytes = "max" } }
  local some = counter "some" { sample = 10 }
  local side = counter "side" {}
  return policy "p" {
    attach = { iface = "lo", hook = "tc" }, window = "1s",
    always = { counter "totals" { features = { "tcp_flags", "size_hist" } } },
    levels = { level "calm" { top, some }, level "deep" { to, side, top, some, window = "100ms" },
               level "deepest" { to, side, window = "100ms" } },
    sets = { set "victims" { of = "dst", max = 8 } },
    rules = { %s },
  }]]

local function load(rule)
  return policy.load { source = POLICY:format(rule), name = "p.lua", templates = templates }
end

local function with(when, slice, hold, more)
  return load(('rule "r" { trigger = "%s", when = %s, clear = rate("totals.packets"):below "1/s", hold = "%s", %s }'):format(
    slice or "50ms", when, hold or "deep", more or ""))
end

local function lowered(when, ...)
  local decl = assert(with(when, ...))
  return decl.triggers[1], decl
end

-- The C text as Lua: what it says of sums.
local function holds(text, sums)
  local lua = text:gsub("%(__s64%)sums%->by%[(%d)%]", function(i) return "s[" .. i + 1 .. "]" end):gsub("&&", " and ")
    :gsub("||", " or "):gsub("!=", "~=")
  return assert(loadstring("local s = ... return " .. lua))(sums)
end

describe("a condition in C", function()
  local CASES = {
    { 'rate("totals.packets"):above "1k/s"', "(__s64)sums->by[0] > 50", true },
    { 'rate("totals.packets"):above "1/s"', "(__s64)sums->by[0] > 0", true },
    { '(rate "totals.syn" - rate "totals.syn_ack"):above "1k/s"', "(__s64)sums->by[0] - (__s64)sums->by[1] > 50", true },
    { 'sum("totals.bytes"):above "64kB"', "(__s64)sums->by[0] > 64000", true },
    { 'rate("totals.bytes"):above "100Mbit/s"', "(__s64)sums->by[0] > 625000", true },
    { '(rate "totals.packets" * 2):above(rate "totals.syn" + 1000)', nil, nil }, -- units do not go together
    { '(rate "totals.packets" * 2):above(rate "totals.syn" + "1k/s")', "2 * (__s64)sums->by[0] - (__s64)sums->by[1] > 50", true },
    { 'rate("totals.packets"):below "1k/s"', "-(__s64)sums->by[0] > -50", false },
    { 'rate("totals.syn"):above(rate "totals.ack" * 3)', "(__s64)sums->by[0] - 3 * (__s64)sums->by[1] > 0", false },
    { 'share("totals.syn", "totals.packets"):above "60%"',
      "((__s64)sums->by[1] != 0 && 5 * (__s64)sums->by[0] - 3 * (__s64)sums->by[1] > 0)", false },
  }

  for _, case in ipairs(CASES) do
    it(case[1], function()
      if not case[2] then return assert.is_nil((with(case[1]))) end
      local trigger = lowered(case[1])
      assert.equal(case[2], trigger.text)
      assert.equal(case[3], trigger.early)
    end)
  end

  it("is tested at every packet only where a few cannot make it hold", function()
    local rate, share, below = 'rate("totals.packets"):above "1k/s"', 'share("totals.syn", "totals.packets"):above "60%"',
      'rate("totals.fin"):below "10/s"'
    local function early(form) return lowered(form).early end
    assert.is_true(early(("all { %s, %s }"):format(rate, share)))
    assert.is_false(early(("any { %s, %s }"):format(rate, share)))
    assert.is_true(early(("any { %s, %s }"):format(rate, rate)))
    assert.is_false(early(("all { %s, %s }"):format(rate, below)))
    assert.is_true(early(("all { any { %s, %s }, %s }"):format(share, share, rate)))
    assert.is_false(early(("all { %s }"):format(share)))
  end)

  -- The judge is the engine's own evaluation of the same condition, over a window as long as the slice.
  it("says what the engine says", function()
    local random = 12345
    local function number(most)
      random = (random * 1103515245 + 12345) % 2147483648
      return math.floor(random / 65536) % most
    end
    local forms = {
      'rate("totals.packets"):above "333/s"', 'rate("totals.packets"):below "333/s"',
      '(rate "totals.syn" - rate "totals.syn_ack"):above "110/s"', '(rate "totals.syn" / 3):above(rate "totals.ack")',
      'share("totals.syn", "totals.packets"):above "33%"', 'share("totals.syn", "totals.packets"):below "0.5%"',
      '(rate "totals.syn" / (rate "totals.fin" + rate "totals.rst")):above(1.7)',
      '(1 - share("totals.syn", "totals.packets")):below "50%"',
      '(sum "totals.syn" * 0.1 + 2):below(sum "totals.ack")',
      'all { any { rate("totals.syn"):above "150/s", rate("totals.fin"):above "1/s" }, sum("totals.rst"):below(7) }',
    }
    local compared, yes = 0, 0
    for _, slice in ipairs { "50ms", "30ms", "10ms", "77ms" } do
      for _, form in ipairs(forms) do
        local trigger, decl = lowered(form, slice)
        local slots = formula.slots()
        local compiled = evaluate.compile(decl.rules[1].when, { slots = slots, columns = {}, timers = 0 })
        for _ = 1, 60 do
          local sums, named = {}, {}
          for i, counter in ipairs(trigger.counters) do
            sums[i] = number(3) == 0 and 0 or number(25)
            named[counter.field] = sums[i]
          end
          local totals = {}
          for i, slot in ipairs(slots.list) do totals[i] = named[slot.column.field] end
          local expected = compiled.test(nil, { seconds = trigger.slice, totals = totals }, { since = {} }) == evaluate.YES
          if holds(trigger.text, sums) ~= expected then
            error(("%s in %s: %s of %s is not %s"):format(form, slice, trigger.text, table.concat(sums, ", "), tostring(expected)))
          end
          compared, yes = compared + 1, yes + (expected and 1 or 0)
        end
      end
    end
    assert.equal(2400, compared)
    assert.is_true(yes > 500 and yes < 1900)
  end)
end)

describe("what cannot be tested in the kernel", function()
  local function refused(when, ...)
    local decl, message = with(when, ...)
    assert.is_nil(decl)
    return (message:gsub('^p.lua:%d+: rule "r": trigger: ', ""))
  end

  local CASES = {
    { 'rate("to.packets"):above "1/s"',
      "rate to.packets", "the rows of to have keys (use a counter's fields)" },
    { 'count("to"):above(5)', "count to", "the kernel does not know count (use rate, sum or share)" },
    { 'mean("to.bytes"):above "5kB"', "mean to.bytes", "the kernel does not know mean (use rate, sum or share)" },
    { 'rate("top.bytes"):above "1kB/s"', "rate top.bytes", "it is no sum (use a counter's fields)" },
    { 'rate("some.packets"):above "1/s"',
      "rate some.packets", "some is sampled, and a trigger counts every packet (use a probe without sample)" },
    { 'rate("totals.packets"):above("1/s"):lasting "40ms"',
      "lasting 40ms", "a trigger judges a single slice (leave lasting out)" },
    { 'rate("totals.packets", "direction == \'ingress\'"):above "1/s"',
      "rate totals.packets where direction == 'ingress'", "the kernel does not choose among rows (leave out the condition on rows)" },
    { 'function() return true end', "a function", "only the engine can call it (write the condition as data)" },
    { '(sum "totals.syn" * sum "totals.ack"):above(5)',
      "sum totals.syn * sum totals.ack", "it multiplies two measures (multiply by numbers only)" },
    { 'share("totals.syn", "totals.packets"):above(share("totals.fin", "totals.packets"))',
      "share totals.syn/totals.packets", "it compares two quotients (compare each with a number)" },
    { '(sum "totals.syn" / (sum "totals.ack" - sum "totals.rst")):above(5)',
      "sum totals.syn / (sum totals.ack - sum totals.rst)",
      "it divides by a difference, which may be negative (divide by counters or their sum)" },
    { '(sum "totals.syn" - sum "totals.syn"):above(5)',
      "sum totals.syn - sum totals.syn", "it compares nothing that can change (compare a counter's rate or sum)" },
    { '(sum "totals.syn" + sum "totals.fin" + sum "totals.rst" + sum "totals.psh" + sum "totals.ack" + sum "totals.urg" + '
      .. 'sum "totals.ece"):above(5)',
      "sum totals.ece", "a trigger reads at most 6 counters (compare fewer)" },
  }

  for _, case in ipairs(CASES) do
    it(case[1], function() assert.equal(case[2] .. " cannot be tested in the kernel: " .. case[3], refused(case[1])) end)
  end

  it("is also what no level below the held one can test", function()
    assert.equal('no level below "deep" runs its probe "side" (add side to one, or to always)', refused 'rate("side.packets"):above "1/s"')
    assert.equal('there is no level below "calm" (hold a deeper one)', refused('rate("totals.packets"):above "1/s"', "50ms", "calm"))
  end)

  it("is a key, a function as an act, and a slice that is no shorter than the window", function()
    local rate = 'rate("totals.packets"):above "1/s"'
    assert.equal("a rule with per has a key for every instance, and the kernel tests none (leave out per)",
      refused('rate("to.packets"):above "1/s"', "50ms", "deepest", 'per = "to.dst"'))
    assert.equal("its act is a function, which is given a closed window, and a trigger waits for none "
      .. "(give the function to a rule of its own)",
      refused(rate, "50ms", "deep", "act = function() end"))
    assert.equal('100ms is not shorter than the window of level "deep" (leave it out, or make it shorter)',
      refused(rate, "100ms", "deepest"))
    local _, message = with(rate, "2ms")
    assert.matches("trigger: ", message)
  end)

  it("is more than the kernel's sixteenth", function()
    local rules = {}
    for i = 1, 17 do
      rules[i] = ('rule "r%d" { trigger = "50ms", when = rate("totals.packets"):above "1/s", act = log }'):format(i)
    end
    assert.equal(16, #assert(load(table.concat(rules, ", ", 1, 16))).triggers)
    local _, message = load(table.concat(rules, ", "))
    assert.matches('rule "r17": trigger: there may be 16', message)
  end)
end)

describe("the program of a trigger", function()
  local function source_of(decl)
    return plan.build(decl, { share = "/share", filter = function() end }).source
  end

  local function level(source, name) return source:match("(static __always_inline void tc_templates_" .. name .. "%(.-\n})") end

  it("is in the levels below the held one that run its probes, and in no other", function()
    local trigger, decl = lowered('rate("totals.syn"):above "1k/s"', "50ms", "deepest")
    assert.same({ true, true }, trigger.levels)
    assert.equal(2, trigger.to)
    local source = source_of(decl)
    assert.matches("trigger_0_count%(&more, p%->half, 0%)", level(source, "calm"))
    assert.matches("trigger_0_count%(&more, p%->half, 1%)", level(source, "deep"))
    assert.is_nil(level(source, "deepest"):find "trigger")
    assert.matches("#define HOOK_TRIGGERS\n", source)
    trigger = lowered('rate("side.packets"):above "1k/s"', "50ms", "deepest")
    assert.same({ [2] = true }, trigger.levels)
  end)

  it("is in all levels when the rule holds none", function()
    local decl = assert(load 'rule "r" { trigger = "50ms", when = rate("totals.syn"):above "1k/s", act = log }')
    assert.same({ true, true, true }, decl.triggers[1].levels)
    assert.is_nil(decl.triggers[1].to)
  end)

  it("leaves a level without one as it is, to the letter", function()
    local rule = 'rule "r" { %s when = rate("totals.syn"):above "1k/s", clear = rate("totals.syn"):below "1/s", hold = "deep" }'
    local with_it, without = source_of(assert(load(rule:format 'trigger = "50ms",'))), source_of(assert(load(rule:format "")))
    assert.equal(level(without, "deep"), level(with_it, "deep"))
    assert.equal(level(without, "deepest"), level(with_it, "deepest"))
    assert.not_equal(level(without, "calm"), level(with_it, "calm"))
    assert.is_nil(without:find "TRIGGER")
    assert.equal(without:match "SEC%(\"tc\"%).*", with_it:match "SEC%(\"tc\"%).*") -- nothing of it is in the roots
  end)

  it("looks at a counter once, however many triggers read it", function()
    local decl = assert(load [[
      rule "a" { trigger = "50ms", when = rate("totals.syn"):above "1k/s", act = log },
      rule "b" { trigger = "20ms", when = (rate("totals.syn") - rate("totals.fin")):above "1k/s", act = log }]])
    local calm = level(source_of(decl), "calm")
    local _, looks = calm:gsub("TRIGGER_LOOK", "")
    local _, before = calm:gsub("__u64 was_", "")
    assert.same({ 1, 2 }, { looks, before })
    local windows = plan.build(decl, { share = "/share" }).windows
    assert.same({ "trigger_events_lost", "lost" }, { windows[2].map, windows[2].role })
  end)
end)
