-- SPDX-License-Identifier: Apache-2.0
-- Tests of policies: what a file of tests may say, and how what happened is judged.
local test_judge = require "perilune.test.judge"
local test_language = require "perilune.test.language"
local test_story = require "perilune.test.story"

local FILE = os.tmpname()

-- What a file with this text declares, or the message.
local function load(text)
  local file = assert(io.open(FILE, "w"))
  file:write(text)
  file:close()
  local value, message = test_language.load { file = FILE }
  os.remove(FILE)
  return value, message
end

local function wrong(text)
  local value, message = load(text)
  assert.is_nil(value)
  return (message:gsub("^" .. FILE:gsub("%p", "%%%0"), "F"))
end

local function of(body) return 'return tests "p.lua" {\n test "t" {\n' .. body .. "\n}}" end

local QUIET = 'traffic = pcap "a.pcap", expect = only "calm"'

describe("a file of tests", function()
  it("is data, with paths beside it", function()
    local file = load [[
      return tests "sub/p.lua" {
        test "found, and left" {
          set = { surge = "2k/s", most = 5, deep = true }, lasting = "2m", start = "2026-03-29T00:55:00Z", inside = "10.0.0.0/8",
          traffic = { pcap "a.pcap", pcap("/b.pcap", { at = "60s", speed = 0.1, from = "1s", src = { "198.18.0.0/15", 1000 }, as = "b" }),
                      pcap("c.pcap", { pps = "2k/s", loop = true, count = 10, dst = "2001:db8::1" }) },
          expect = { level("siege", { by = "60.5s", rule = "victim", within = { 1000, "b" } }), only { "calm", "siege" }, never "alert",
                     members("s", { exactly = { "b", "a" } }), rule("r", { times = 0 }), act("log", { text = "x" }), fails "y" },
        },
      }]]
    assert.equal(FILE:match "^(.*/)" .. "sub/p.lua", file.policy)
    local test = file.tests[1]
    assert.same({ "found, and left", 2 }, { test.name, test.line })
    assert.same({ surge = "2k/s", most = "5", deep = "true" }, test.set)
    assert.same({ 120, 1774745700e6, "10.0.0.0/8" }, { test.lasting, test.start, test.inside })
    assert.same({ FILE:match "^(.*/)" .. "a.pcap", "/b.pcap" }, { test.traffic[1].path, test.traffic[2].path })
    local b, c = test.traffic[2], test.traffic[3]
    assert.same({ 60, 0.1, 1, { "198.18.0.0", 1000 }, "b" }, { b.at, b.speed, b.from, b.src, b.name })
    assert.same({ 2000, true, 10, { "2001:db8::1", 1 } }, { c.pps, c.loop, c.count, c.dst })
    assert.same({ "level", "only", "never", "members", "rule", "act", "fails" }, (function()
      local kinds = {}
      for i, e in ipairs(test.expect) do kinds[i] = e.kind end
      return kinds
    end)())
    assert.same({ "a", "b" }, test.expect[4].exactly)
    assert.equal('level("siege", { by = "60.5s", rule = "victim", within = { 1000, "b" } })', tostring(test.expect[1]))
    assert.equal(60.5, test_judge.horizon(test.expect))
  end)

  it("says what is wrong with it, where, and what to do", function()
    local cases = {
      { 'return policy "p" {}', 'F:1: unknown name "policy"' },
      { "return 5", "F: the file does not return tests (end it with return tests" },
      { 'return tests "p.lua" {}', 'F:1: tests "p.lua": there is none (write test "name"' },
      { of 'traffic = pcap "a.pcap"', 'F:2: "t": test lacks expect (like expect = { only "calm" })' },
      { of 'expect = only "calm"', 'F:2: "t": test lacks traffic' },
      { of 'traffic = {}, expect = only "calm"', 'F:2: "t": test: traffic: the list is empty' },
      { of 'trafic = {}', 'F:2: "t": test has no key "trafic" (did you mean "traffic"?)' },
      { of 'traffic = pcap(5)', 'F:3: pcap takes the name of a file' },
      { of 'traffic = pcap("a.pcap", { pace = 3 })', 'F:3: pcap "a.pcap": pcap has no key "pace"' },
      { of 'traffic = pcap("a.pcap", { at = 3 })', 'F:3: pcap "a.pcap": pcap: at: expected a duration' },
      { of 'traffic = pcap("a.pcap", { loop = true })', 'F:3: pcap "a.pcap": loop would never end' },
      { of 'traffic = pcap("a.pcap", { speed = 2, pps = 5 })', 'F:3: pcap "a.pcap": speed and pps are two paces' },
      { of 'traffic = pcap("a.pcap", { speed = 0 })', 'expected how many times as fast' },
      { of 'traffic = pcap("a.pcap", { src = { "10.0.0.0/30", 5 } })', 'expected an address, or a network' },
      { of 'traffic = pcap "a.pcap", expect = level("siege", { until_ = "5s" })', 'F:3: level has no key "until_"' },
      { of 'traffic = pcap "a.pcap", expect = level(5)', 'F:3: level takes a name' },
      { of 'traffic = pcap "a.pcap", expect = level("l", { within = 5 })', 'F:3: level: within: expected a number of frames' },
      { of 'traffic = pcap "a.pcap", expect = level("l", { within = { 5, "b.pcap" } })',
        'F:3: level("l", { within = { 5, "b.pcap" } }): within: there is no capture "b.pcap"' },
      { of 'traffic = { pcap "a.pcap", pcap "a.pcap" }, expect = level("l", { within = { 5, "a.pcap" } })',
        'within: there is more than one capture "a.pcap"' },
      { of(QUIET .. ", start = '5s'"), 'F:2: "t": test: start: "5s" is no time' },
      { of(QUIET .. ", inside = 'home'"), 'test: inside: home is not a network' },
      { of(QUIET .. ", set = { 5 }"), 'test: set: expected NAME = VALUE' },
      { of(QUIET .. '}, test "t" {' .. QUIET), 'F:3: there are two tests "t" (the first is in line 2)' },
      { of(QUIET .. '}, level "x" {'), "F" },
    }
    for _, case in ipairs(cases) do
      local message = wrong(case[1])
      assert.truthy(message:find(case[2], 1, true), message .. "\n   lacks: " .. case[2])
    end
  end)

  it("may only name what the policy has", function()
    local file = load(of 'traffic = pcap "a.pcap", expect = { only "calm", level("sige", {}) }')
    local decl = { file = "p.lua", levels = { { name = "calm" }, { name = "siege" } }, rules = { { name = "r" } },
      sets = { { name = "s" } } }
    local _, message = test_judge.check(file.tests[1].expect, decl)
    assert.equal(FILE .. ':3: level "sige": p.lua has no level "sige" (did you mean "siege"?)', message)
    local function check(text)
      return (test_judge.check(load(of('traffic = pcap "a.pcap", expect = ' .. text)).tests[1].expect, decl))
    end
    assert.is_nil(check 'only { "calm", "x" }')
    assert.is_nil(check 'never "x"')
    assert.is_nil(check 'rule "x"')
    assert.is_nil(check 'members("x", {})')
    assert.is_nil(check 'level("calm", { rule = "x" })')
    assert.is_true(check '{ rule "r", members("s", {}), level("calm", { rule = "r" }) }')
  end)
end)

-- A story of these events: { seconds, event, fields }; progress is 100 frames of f a second.
local function story(...)
  local now = 0
  local made = test_story.new({ name = "p", sets = { { name = "s", members = { "10.9.9.9" } } } }, function() return { f = now * 100 } end)
  made:event { event = "start", time = 5e6, levels = { "calm" } }
  for _, one in ipairs { ... } do
    now = one[1]
    one[3].event, one[3].time = one[2], 5e6 + now * 1e6
    made:event(one[3])
  end
  return made
end

local function to(seconds, from, level, rule)
  return { seconds, "transition", { from = from, to = level, rule = rule, reason = "because" } }
end

local function add(seconds, member, undo)
  return { seconds, "action", { act = "add", set = "s", member = member, undo = undo or false, rule = "v" } }
end

local function judged(text, told)
  local file = assert(load(of('traffic = pcap("a.pcap", { as = "f" }), expect = ' .. text)))
  local failures = test_judge.judge(file.tests[1].expect, told)
  local said = {}
  for i, failure in ipairs(failures) do said[i] = failure.instead end
  return table.concat(said, "; "), failures
end

describe("what happened", function()
  local up_and_down = { to(2, "calm", "siege", "victim"), to(10, "siege", "calm") }

  local function twice(text, ...) return judged(text, story(...)) end

  it("is judged by levels, one after the other", function()
    local function check(text) return twice(text, up_and_down[1], up_and_down[2]) end
    assert.equal("", check '{ level "calm", level("siege", { by = "2s", rule = "victim" }), level("calm", { by = "10s", after = "5s" }) }')
    assert.equal("siege was entered at 2 s, 0.5 s after it should have", check 'level("siege", { by = "1.5s" })')
    assert.equal("siege was entered at 2 s, 3 s too early", check 'level("siege", { after = "5s" })')
    assert.equal("siege was entered at 2 s, by rule victim", check 'level("siege", { rule = "surge" })')
    assert.equal("siege was entered at 2 s, after 200 frames of f", check 'level("siege", { within = { 199, "f" } })')
    assert.equal("", check 'level("siege", { within = { 200, "f" } })')
    assert.equal("alert was never entered", check 'level "alert"')
    assert.equal("siege was never entered after calm (at 10 s)", check '{ level("calm", { after = "5s" }), level "siege" }')
    assert.equal("siege was entered at 2 s: because", check 'only "calm"')
    assert.equal("", check 'only { "calm", "siege" }')
    assert.equal("siege was entered at 2 s: because", check 'never "siege"')
    assert.equal("", check 'never "alert"')
  end)

  it("is judged by what fired and was done", function()
    local function check(text)
      return twice(text, { 1, "rule", { rule = "r", key = "a", state = "firing", reason = "x" } },
        { 2, "rule", { rule = "r", key = "b", state = "firing", reason = "x" } },
        { 3, "rule", { rule = "r", key = "a", state = "cleared", reason = "x" } },
        { 4, "action", { act = "log", rule = "r", key = "a", text = "seen a", undo = false } },
        { 5, "emit", { name = "found", rule = "r", reason = "x" } })
    end
    assert.equal("", check '{ rule "r", rule("r", { key = "b", by = "2s" }), rule("r", { times = 2 }), rule("q", { times = 0 }) }')
    assert.equal("it fired 2 times, not 1", check 'rule("r", { times = 1 })')
    assert.equal("it fired 1 time, not 2 (and at 2 s, 0.5 s after it should have)", check 'rule("r", { times = 2, by = "1.5s" })')
    assert.equal("it fired at 2 s, 1 s after it should have", check 'rule("r", { key = "b", by = "1s" })')
    assert.equal("it never fired", check 'rule "q"')
    assert.equal("", check '{ act("log", { text = "seen", rule = "r", key = "a" }), act("emit", { text = "found" }) }')
    assert.equal("", check 'act("notify", { times = 0 })')
    assert.equal("it never was done", check 'act("log", { text = "seen b" })')
  end)

  it("is judged by who was in a set", function()
    local function check(text) return twice(text, add(1, "a"), add(2, "b"), add(5, "a", true), add(6, "c")) end
    assert.equal("", check 'members("s", { exactly = { "a", "b", "c", "10.9.9.9" } })')
    assert.equal("d is missing, 10.9.9.9, b, c should not be there", check 'members("s", { exactly = { "a", "d" } })')
    assert.equal("", check 'members("s", { at = "5s", exactly = { "b", "10.9.9.9" } })')
    assert.equal("", check 'members("s", { includes = { "a" }, excludes = { "c" }, by = "2s", at_least = 3, at_most = 3 })')
    assert.equal("c should not be there", check 'members("s", { excludes = { "c" } })')
    assert.equal("b is missing", check 'members("s", { includes = { "b" }, within = { 199, "f" } })')
    assert.equal("there are 4", check 'members("s", { at_most = 3 })')
  end)

  it("has no errors but those expected", function()
    local failed = { 1.5, "error", { message = "boom\nstack", file = "p.lua", line = 3 } }
    local said, failures = twice('only "calm"', failed)
    assert.equal("at 1.5 s: p.lua:3: boom", said)
    assert.equal("no error", failures[1].expected)
    assert.equal("", twice('fails "boom"', failed))
    assert.equal("no error says so", twice 'fails "boom"')
  end)

  it("is told again, in few lines", function()
    local told = story(up_and_down[1], up_and_down[2])
    assert.same({ "      0 s  calm", "      2 s  calm → siege  because", "     10 s  siege → calm  because" }, told:timeline(10))
    local list = {}
    for i = 1, 20 do list[i] = to(i / 8, "a", "b") end
    told = story(unpack(list))
    assert.same({ "      0 s  calm", "  0.125 s  a → b  because", "           … 17 more", "  2.375 s  a → b  because",
      "    2.5 s  a → b  because" }, told:timeline(4))
  end)
end)
