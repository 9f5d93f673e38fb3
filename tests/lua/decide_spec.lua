-- SPDX-License-Identifier: Apache-2.0
-- Rules over windows, on a clock of the test's own: a policy's text goes in, changes come out.
local decide = require "perilune.engine.decide"
local policy = require "perilune.policy"

local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local templates = dofile(HERE .. "/fake_templates.lua")

-- A decider for a policy with these rules (and sets); probes are totals (always), to (alert).
local function decider(rules, sets, limits)
  local text = ('local to = flows "to" { key = "dst", features = { "tcp_flags" } }\nreturn policy "p" {'
    .. 'always = { counter "totals" { features = { "tcp_flags" } } },'
    .. 'levels = { level "calm" {}, level "alert" { to }, level "siege" { to } },'
    .. "sets = { %s },\nrules = { %s } }"):format(sets or "", rules)
  return decide.new(assert(policy.load { source = text, name = "p.lua", templates = templates }), limits)
end

-- One second from `at` on. totals: field → number; rows: key → fields, nil when `to` does not run.
local function window(at, totals, rows, with)
  local sample = {
    seq = at, start = at, finish = at + 1, seconds = 1, level = rows and "alert" or "calm", decisive = true,
    observed = { totals = true, to = rows ~= nil }, window = { seq = at },
  }
  for key, value in pairs(with or {}) do sample[key] = value end
  function sample.total(probe, field)
    if probe == "totals" then return totals[field] or 0 end
    local sum = 0
    for _, row in pairs(rows) do sum = sum + (row[field] or 0) end
    return sum
  end
  function sample.rows()
    local n = 0
    for _ in pairs(rows) do n = n + 1 end
    return n
  end
  function sample.groups(probe, field, fields)
    assert.same({ "to", "dst" }, { probe, field })
    local groups = {}
    for key, row in pairs(rows) do
      groups[key] = { n = row.n or 1 }
      for _, name in ipairs(fields) do groups[key][name] = row[name] or 0 end
    end
    return groups
  end
  function sample.text(_, _, raw) return "10.0.0." .. raw end
  return sample
end

local function states(result)
  local list = {}
  for i, change in ipairs(result.rules) do
    list[i] = change.rule .. (change.key and " " .. change.key or "") .. " " .. change.state
  end
  return list
end

local function acts(result)
  local list = {}
  for i, action in ipairs(result.actions) do
    list[i] = action.act .. (action.undo and " undo " or " ") .. (action.member or action.text or action.key or "")
  end
  return list
end

local SURGE = [[rule "surge" { when = rate("totals.syn"):above "2k/s",
                               clear = rate("totals.syn"):below("500/s"):lasting "3s", hold = "alert" }]]

describe("a rule", function()
  it("fires, holds, and clears only after it has been quiet for long enough", function()
    local d = decider(SURGE)
    assert.same({}, d:step(window(0, { syn = 2000 })).rules)
    local result = d:step(window(1, { syn = 8312 }))
    assert.same({ {
      rule = "surge", state = "firing", reason = "surge: rate totals.syn 8,312/s above 2,000/s",
      values = { ["rate totals.syn"] = 8312 },
    } }, result.rules)
    assert.same({ alert = { "surge" } }, result.holds)
    -- Between the two thresholds nothing changes; and each window above starts the quiet anew.
    for i, syn in ipairs { 1000, 100, 100, 600, 100, 100 } do
      result = d:step(window(1 + i, { syn = syn }))
      assert.same({}, result.rules)
      assert.same({ alert = { "surge" } }, result.holds)
    end
    result = d:step(window(8, { syn = 100 }))
    assert.equal("surge: rate totals.syn 100/s below 500/s for 3s", result.rules[1].reason)
    assert.equal("cleared", result.rules[1].state)
    assert.same({}, result.holds)
    assert.same({}, d:step(window(9, { syn = 0 })).rules)
    assert.same({ "surge firing" }, states(d:step(window(10, { syn = 2001 }))))
  end)

  it("scales by the length of its window", function()
    local d = decider(SURGE)
    assert.same({ "surge firing" }, states(d:step(window(0, { syn = 300 }, nil, { seconds = 0.1, finish = 0.1 }))))
  end)

  it("is pending while its condition does not hold for long enough", function()
    local d = decider 'rule "r" { when = rate("totals.syn"):above("5/s"):lasting "3s", act = log }'
    local result = d:step(window(0, { syn = 9 }))
    assert.same({ "r pending" }, states(result))
    assert.equal("r: rate totals.syn 9/s above 5/s, not yet for 3s", result.rules[1].reason)
    assert.same({}, states(d:step(window(1, { syn = 9 }))))
    result = d:step(window(2, { syn = 9 }))
    assert.same({ "r firing" }, states(result))
    assert.same({ "log r: rate totals.syn 9/s above 5/s for 3s" }, acts(result))
    result = d:step(window(3, { syn = 1 }))
    assert.equal("r: rate totals.syn 1/s not above 5/s", result.rules[1].reason)
    assert.same({ "r pending" }, states(d:step(window(4, { syn = 9 }))))
    assert.same({ "r cleared" }, states(d:step(window(5, { syn = 0 }))))
  end)

  it("counts tenths of a second as an operator would", function()
    local d = decider 'rule "r" { when = rate("totals.syn"):above("5/s"):lasting "300ms" }'
    local last
    for i = 0, 2 do
      last = d:step(window(0, { syn = 9 }, nil, { seconds = 0.1, start = i * 0.1, finish = i * 0.1 + 0.1 }))
    end
    assert.same({ "r firing" }, states(last))
  end)

  it("does not judge a window that was cut short", function()
    local d = decider(SURGE)
    local result = d:step(window(0, { syn = 9999 }, nil, { decisive = false }))
    assert.same({ {}, {}, {}, {} }, { result.rules, result.actions, result.errors, result.holds })
    d:step(window(1, { syn = 9999 }))
    assert.same({ alert = { "surge" } }, d:step(window(2, { syn = 0 }, nil, { decisive = false })).holds)
    assert.same({}, d:step(window(2, { syn = 0 }, nil, { seconds = 0 })).rules)
  end)

  it("combines all, any, arithmetic and shares", function()
    local d = decider [[rule "r" { when = all {
      (rate "totals.syn" - rate "totals.syn_ack"):above "10/s",
      any { share("totals.syn", "totals.packets"):above "60%", mean("to.bytes"):above "1kB", count("to"):above(2) } } }]]
    assert.same({}, states(d:step(window(0, { syn = 20, syn_ack = 15, packets = 20 }, {}))))
    assert.same({}, states(d:step(window(1, { syn = 20, packets = 200 }, {}))))
    local result = d:step(window(2, { syn = 20, packets = 25 }, { ["1"] = { bytes = 3000 } }))
    assert.equal("r: rate totals.syn - rate totals.syn_ack 20/s above 10/s and share totals.syn/totals.packets 80 % above 60 %"
      .. " and mean to.bytes 3 kB above 1 kB", result.rules[1].reason)
    assert.same({
      ["rate totals.syn - rate totals.syn_ack"] = 20, ["rate totals.syn"] = 20, ["rate totals.syn_ack"] = 0,
      ["share totals.syn/totals.packets"] = 0.8, ["mean to.bytes"] = 3000, ["count to"] = 1,
    }, result.rules[1].values)
    result = d:step(window(3, { syn = 5, packets = 5 }, {}))
    assert.equal("r: rate totals.syn - rate totals.syn_ack 5/s not above 10/s", result.rules[1].reason)
  end)

  it("remembers how long a part lasted, also while the others do not hold", function()
    local d = decider [[rule "r" { when = all { rate("totals.syn"):above("5/s"):lasting "2s", rate("totals.ack"):above "5/s" } }]]
    assert.same({}, states(d:step(window(0, { syn = 9 }))))
    assert.same({ "r firing" }, states(d:step(window(1, { syn = 9, ack = 9 }))))
  end)
end)

describe("a rule per key", function()
  local VICTIM = [[rule "victim" { per = "to.dst", when = rate("to.syn"):above "100/s",
    clear = rate("to.syn"):below("10/s"):lasting "2s", hold = "siege", act = { add "victims" } }]]
  local SETS = 'set "victims" { of = "dst", max = 3, ttl = "5s" }'

  it("has one instance for each, and undoes what it did", function()
    local d = decider(VICTIM, SETS)
    local result = d:step(window(0, {}, { ["2"] = { syn = 200 }, ["1"] = { syn = 300 }, ["3"] = { syn = 100 } }))
    assert.same({ "victim 10.0.0.1 firing", "victim 10.0.0.2 firing" }, states(result))
    assert.equal("victim 10.0.0.1: rate to.syn 300/s above 100/s", result.rules[1].reason)
    assert.same({ siege = { "victim 10.0.0.1", "victim 10.0.0.2" } }, result.holds)
    assert.same({ "add 10.0.0.1", "add 10.0.0.2" }, acts(result))
    assert.same({ victims = {
      { member = "10.0.0.1", since = 1, expires = 6 }, { member = "10.0.0.2", since = 1, expires = 6 },
    } }, d:sets())
    -- A key without a row counts as quiet.
    d:step(window(1, {}, { ["1"] = { syn = 300 } }))
    result = d:step(window(2, {}, { ["1"] = { syn = 300 } }))
    assert.same({ "victim 10.0.0.2 cleared" }, states(result))
    assert.equal("victim 10.0.0.2: rate to.syn 0/s below 10/s for 2s", result.rules[1].reason)
    assert.same({ "add undo 10.0.0.2" }, acts(result))
    assert.same({ siege = { "victim 10.0.0.1" } }, result.holds)
    assert.same({ victims = { { member = "10.0.0.1", since = 1, expires = 8 } } }, d:sets())
  end)

  it("clears as not observed where its probe does not run", function()
    local d = decider(VICTIM, SETS)
    d:step(window(0, {}, { ["1"] = { syn = 300 } }))
    local result = d:step(window(1, {}, nil))
    assert.same({ {
      rule = "victim", key = "10.0.0.1", state = "cleared", why = "not observed", values = {},
      reason = "victim 10.0.0.1: not observed (probe to does not run at level calm)",
    } }, result.rules)
    assert.same({ "add undo 10.0.0.1" }, acts(result))
    assert.same({}, result.holds)
    assert.same({}, d:step(window(2, {}, nil)).rules)
  end)

  it("mixes its key's figures with totals of other probes", function()
    local d = decider [[rule "r" { per = "to.dst",
      when = all { share("to.packets", "totals.packets"):above "50%", count("to"):above(1) } }]]
    assert.same({ "r 10.0.0.1 firing" }, states(d:step(window(0, { packets = 100 },
      { ["1"] = { packets = 60, n = 2 }, ["2"] = { packets = 40, n = 2 } }))))
    assert.same({ "r 10.0.0.1 cleared" }, states(d:step(window(1, { packets = 100 }, { ["1"] = { packets = 60 } }))))
  end)

  it("refuses instances beyond its limit, the same ones each time, and counts them", function()
    local d = decider(VICTIM, SETS, { instances = 2 })
    local rows = {}
    for i = 1, 5 do rows[tostring(i)] = { syn = 200 } end
    assert.same({ "victim 10.0.0.1 firing", "victim 10.0.0.2 firing" }, states(d:step(window(0, {}, rows))))
    assert.equal(3, d:overflow().rules.victim)
    rows["1"] = nil
    d:step(window(1, {}, rows))
    d:step(window(2, {}, rows))
    assert.same({ "victim 10.0.0.3 firing" }, states(d:step(window(3, {}, rows))))
  end)

  it("forgets keys that give no reason to be remembered", function()
    local d = decider(VICTIM, SETS)
    for i = 1, 50 do d:step(window(i, {}, { [tostring(i)] = { syn = 99 } })) end
    assert.is_nil(next(d.rules[1].instances))
    assert.equal(0, d.rules[1].count)
  end)

  it("keeps pending keys apart", function()
    local d = decider 'rule "r" { per = "to.dst", when = rate("to.syn"):above("5/s"):lasting "2s" }'
    assert.same({ "r 10.0.0.1 pending" }, states(d:step(window(0, {}, { ["1"] = { syn = 9 } }))))
    assert.same({ "r 10.0.0.1 firing", "r 10.0.0.2 pending" },
      states(d:step(window(1, {}, { ["2"] = { syn = 9 }, ["1"] = { syn = 9 } }))))
    assert.same({ "r 10.0.0.1 cleared", "r 10.0.0.2 firing" }, states(d:step(window(2, {}, { ["2"] = { syn = 9 } }))))
    assert.same({ "r 10.0.0.2 cleared" }, states(d:step(window(3, {}, {}))))
    assert.equal(0, d.rules[1].count)
  end)

  it("gives the same answers whatever order the rows come in", function()
    local function run(order)
      local d, out = decider(VICTIM, SETS), {}
      local rows = {}
      for _, key in ipairs(order) do rows[key] = { syn = 200 } end
      for at = 0, 3 do
        local result = d:step(window(at, {}, at < 2 and rows or {}))
        out[#out + 1] = { states(result), acts(result), result.holds }
      end
      return out
    end
    local up, down = {}, {}
    for i = 1, 40 do
      up[i] = ("%02d"):format(i)
      down[i] = ("%02d"):format(41 - i)
    end
    assert.same(run(up), run(down))
  end)
end)

describe("a set", function()
  local RULE = [[rule "r" { per = "to.dst", when = rate("to.syn"):above "100/s", clear = rate("to.syn"):below "10/s",
    act = { add "few" } }]]

  it("has room for no more than its max; who had none is tried again", function()
    local d = decider(RULE, 'set "few" { of = "dst", max = 1 }')
    local result = d:step(window(0, {}, { ["1"] = { syn = 200 }, ["2"] = { syn = 200 } }))
    assert.same({ "add 10.0.0.1" }, acts(result))
    assert.equal(1, d:overflow().sets.few)
    result = d:step(window(1, {}, { ["2"] = { syn = 200 } }))
    assert.same({ "add undo 10.0.0.1", "add 10.0.0.2" }, acts(result))
    assert.is_nil(d:sets().few[1].expires)
  end)

  it("loses a member when its reason was not seen for the ttl, though its rule fires on", function()
    local d = decider(RULE, 'set "few" { of = "dst", max = 4, ttl = "2s" }')
    d:step(window(0, {}, { ["1"] = { syn = 200 } }))
    d:step(window(1, {}, { ["1"] = { syn = 200 } }))
    assert.same({}, acts(d:step(window(2, {}, { ["1"] = { syn = 50 } }))))
    local result = d:step(window(3, {}, { ["1"] = { syn = 50 } }))
    assert.same({ "add undo 10.0.0.1" }, acts(result))
    assert.equal("ttl", result.actions[1].why)
    assert.same({}, result.rules)
    assert.same({ few = {} }, d:sets())
    assert.same({ "add 10.0.0.1" }, acts(d:step(window(4, {}, { ["1"] = { syn = 200 } }))))
  end)

  it("keeps a member that another rule still wants", function()
    local d = decider(RULE .. [[, rule "s" { per = "to.dst", when = rate("to.ack"):above "100/s", act = { add "few" } }]],
      'set "few" { of = "dst", max = 4 }')
    assert.same({ "add 10.0.0.1" }, acts(d:step(window(0, {}, { ["1"] = { syn = 200, ack = 200 } }))))
    assert.same({}, acts(d:step(window(1, {}, { ["1"] = { ack = 200 } }))))
    assert.same({ "add undo 10.0.0.1" }, acts(d:step(window(2, {}, {}))))
  end)
end)

describe("a function", function()
  it("decides, with the window and the key", function()
    local d = decider [[rule "whole" { when = function(w, key) return w.seq == 1 and key == nil end, act = { log "odd" } },
      rule "each" { per = "to.dst", when = function(w, key) return key == "10.0.0.2" end }]]
    assert.same({ "each 10.0.0.2 firing" }, states(d:step(window(0, {}, { ["1"] = {}, ["2"] = {} }))))
    local result = d:step(window(1, {}, {}))
    assert.same({ "whole firing" }, states(result))
    assert.equal("whole: function of line 3 holds", result.rules[1].reason)
    assert.same({ "log odd" }, acts(result))
    assert.same({ "whole cleared" }, states(d:step(window(2, {}, {}))))
  end)

  it("that fails is false, and is reported once with its traceback", function()
    local d = decider([[rule "bad" { when = function(w) return w.missing.field end },
      rule "worse" { per = "to.dst", when = function(w, key) return nonsense end }, ]] .. SURGE)
    local result = d:step(window(0, { syn = 9999 }, { ["1"] = {}, ["2"] = {} }))
    assert.same({ "surge firing" }, states(result))
    assert.equal(2, #result.errors)
    assert.equal("bad", result.errors[1].rule)
    assert.equal(3, result.errors[1].line)
    assert.matches("p.lua:3: attempt to index field 'missing' %(a nil value%)\nstack traceback:", result.errors[1].message)
    assert.matches('p.lua:4: unknown name "nonsense"', result.errors[2].message)
    assert.same({}, d:step(window(1, { syn = 9999 }, { ["1"] = {} })).errors)
  end)

  it("that has failed is not called again; one that is worth it is, and both are reported once", function()
    local asked, again = {}, false
    local function call(node, _, key)
      asked[#asked + 1] = node.line .. " " .. tostring(key)
      if node.line == 4 and key == "10.0.0.1" then return nil, "too slow", again end
      return true
    end
    local RULES = [[rule "whole" { when = function() end },
      rule "each" { per = "to.dst", when = function(w, key) end }]]
    local rows = { ["1"] = {}, ["2"] = {} }
    local d = decider(RULES, nil, { call = call })
    local result = d:step(window(0, {}, rows))
    assert.same({ "whole firing" }, states(result)) -- the second key is not asked: its function has failed
    assert.same({ "3 nil", "4 10.0.0.1" }, asked)
    assert.same({ { rule = "each", message = "too slow", file = "p.lua", line = 4,
      hint = "it is not called again and counts as false until the policy is loaded anew" } }, result.errors)
    assert.same({}, d:step(window(1, {}, rows)).errors)
    assert.same({ "3 nil", "4 10.0.0.1", "3 nil" }, asked)

    asked, again = {}, true
    d = decider(RULES, nil, { call = call })
    result = d:step(window(0, {}, rows))
    assert.same({ "whole firing", "each 10.0.0.2 firing" }, states(result))
    assert.equal(1, #result.errors)
    assert.matches("^no truth and no act of it in this window; it is called again", result.errors[1].hint)
    assert.same({}, d:step(window(1, {}, rows)).errors)
    assert.same({ "3 nil", "4 10.0.0.1", "4 10.0.0.2", "3 nil", "4 10.0.0.1", "4 10.0.0.2" }, asked)
    again = false
    assert.matches("^it is not called again", d:step(window(2, {}, rows)).errors[1].hint)
  end)

  it("acts when its rule fires", function()
    local d = decider [[rule "r" { per = "to.dst", when = rate("to.syn"):above "5/s",
      act = { function(w, key) w.seen = key end, function() error "no" end, log } }]]
    local sample = window(0, {}, { ["1"] = { syn = 9 } })
    local result = d:step(sample)
    assert.equal("10.0.0.1", sample.window.seen)
    assert.equal(1, #result.errors)
    assert.same({ "call 10.0.0.1", "log r 10.0.0.1: rate to.syn 9/s above 5/s" }, acts(result))
  end)
end)

describe("many keys", function()
  it("cost little while they give no reason", function()
    local d = decider [[rule "r" { per = "to.dst", when = all { (rate "to.syn" - rate "to.syn_ack"):above "1k/s",
      share("to.syn", "to.packets"):above "60%" } }]]
    local groups = {}
    for i = 1, 60000 do groups[("%08d"):format(i)] = { syn = i % 900, syn_ack = 1, packets = 1000, n = 1 } end
    local sample = window(0, {}, {})
    function sample.groups() return groups end
    function sample.text() error "no text is made for a key that gives no reason" end
    d:step(sample)
    collectgarbage()
    collectgarbage "stop"
    local memory, clock = collectgarbage "count", os.clock()
    d:step(sample)
    local took, grown = os.clock() - clock, collectgarbage "count" - memory
    collectgarbage "restart"
    -- Two lists of 60,000 and no more; the time is a tenth of what would hurt.
    assert.is_true(grown < 4096, grown .. " kB")
    assert.is_true(took < 0.25, took .. " s")
  end)
end)

describe("acts for others", function()
  it("are handed out as declared, with why, when a rule fires", function()
    local d = decider [[rule "r" { per = "to.dst", when = rate("to.syn"):above "5/s",
      act = { emit "flood" { severity = "high", page = true, weight = 3 }, emit "plain" } }]]
    local result = d:step(window(0, {}, { ["1"] = { syn = 9 } }))
    assert.same({
      { act = "emit", what = { kind = "emit", text = "flood", fields = { severity = "high", page = true, weight = 3 } },
        rule = "r", key = "10.0.0.1", undo = false, text = "flood", reason = "r 10.0.0.1: rate to.syn 9/s above 5/s",
        values = { ["rate to.syn"] = 9 } },
      { act = "emit", what = { kind = "emit", text = "plain", fields = {} }, rule = "r", key = "10.0.0.1", undo = false,
        text = "plain", reason = "r 10.0.0.1: rate to.syn 9/s above 5/s", values = { ["rate to.syn"] = 9 } },
    }, result.actions)
    assert.same({}, d:step(window(1, {}, { ["1"] = { syn = 9 } })).actions)
    assert.same({}, d:step(window(2, {}, { ["1"] = { syn = 0 } })).actions) -- nothing of them lasts
    assert.same({ "emit flood", "emit plain" }, acts(d:step(window(3, {}, { ["1"] = { syn = 9 } }))))
  end)

  it("are taken back when they last: on clear, and when the rule is observed no more", function()
    local d = decider [[rule "r" { per = "to.dst", when = rate("to.syn"):above "5/s", act = emit "flood" }]]
    d.rules[1].decl.act[1].lasts = true
    assert.same({ "emit flood" }, acts(d:step(window(0, {}, { ["1"] = { syn = 9 } }))))
    local result = d:step(window(1, {}, { ["1"] = { syn = 1 } }))
    assert.same({ "emit undo flood" }, acts(result))
    assert.equal("r 10.0.0.1: rate to.syn 1/s not above 5/s", result.actions[1].reason)
    d:step(window(2, {}, { ["1"] = { syn = 9 } }))
    result = d:step(window(3, {}))
    assert.same({ "emit undo flood" }, acts(result))
    assert.matches("not observed", result.actions[1].reason, 1, true)
  end)
end)

describe("the end", function()
  it("takes back what lasts, and members of sets that others see", function()
    local d = decider([[rule "r" { per = "to.dst", when = rate("to.syn"):above "5/s",
        act = { add "seen", add "own", add "kept", emit "e" } }]],
      [[set "seen" { of = "dst", max = 9, export = true, members = { "192.0.2.1" } }, set "own" { of = "dst", max = 9 },
        set "kept" { of = "dst", max = 9, export = "k", keep = true }]])
    d.rules[1].decl.act[4].lasts = true
    d:step(window(0, {}, { ["1"] = { syn = 9 } }))
    local actions = d:release "the run has ended"
    assert.same({ "emit undo e", "add undo 10.0.0.1", "add undo 192.0.2.1" }, acts { actions = actions })
    assert.same({ "r 10.0.0.1: the run has ended", "seen", "exit" }, { actions[1].reason, actions[2].set, actions[2].why })
  end)
end)

describe("measures that look back", function()
  local function last_value(result, text) return result.rules[1] and result.rules[1].values[text] end

  it("judge several windows together, those that were cut short too", function()
    local d = decider 'rule "r" { when = rate("totals.syn"):over("4s"):above "100/s" }'
    assert.same({}, states(d:step(window(0, { syn = 50 }))))
    assert.same({}, states(d:step(window(1, { syn = 120 }))))
    -- Half a second that is not judged: 400 in 2.5 s, then 450 in 3.5 s.
    local cut = d:step(window(2, { syn = 230 }, nil, { seconds = 0.5, finish = 2.5, decisive = false }))
    assert.same({}, states(cut))
    local result = d:step(window(2.5, { syn = 50 }))
    assert.same({ "r firing" }, states(result))
    assert.near(450 / 3.5, last_value(result, "rate totals.syn over 4s"), 1e-9)
    assert.equal("r: rate totals.syn over 4s 129/s above 100/s", result.rules[1].reason)
    assert.same({}, states(d:step(window(3.5, { syn = 0 })))) -- 400 in 3.5 s: what begins before 0.5 s is over
    assert.same({ "r cleared" }, states(d:step(window(4.5, { syn = 0 }))))
  end)

  it("divide sums, not quotients", function()
    local d = decider [[rule "r" { when = all { share("totals.syn", "totals.packets"):over("5s"):above "20%",
      share("totals.syn", "totals.packets"):ewma("5s"):above "20%" } }]]
    d:step(window(0, { syn = 10, packets = 10 }))
    local result = d:step(window(1, { syn = 0, packets = 990 }))
    assert.same({ "r cleared" }, states(result))
    assert.near(0.01, last_value(result, "share totals.syn/totals.packets over 5s"), 1e-9)
  end)

  it("have a figure for every key, and forget those that are silent", function()
    local d = decider 'rule "r" { per = "to.dst", when = rate("to.syn"):over("3s"):above "100/s" }'
    assert.same({}, states(d:step(window(0, {}, { ["1"] = { syn = 90 }, ["2"] = { syn = 10 } }))))
    assert.same({ "r 10.0.0.1 firing" }, states(d:step(window(1, {}, { ["1"] = { syn = 150 }, ["2"] = { syn = 90 } }))))
    assert.is_false(d:at_rest())
    assert.same({ "r 10.0.0.1 cleared" }, states(d:step(window(2, {}, { ["2"] = { syn = 150 } })))) -- 240 in 3 s
    assert.same({}, states(d:step(window(3, {}, {}))))
    for at = 4, 6 do d:step(window(at, {}, {})) end
    assert.is_true(d:at_rest())
  end)

  it("leave out windows in which their probe does not run", function()
    local d = decider 'rule "r" { when = rate("to.syn"):over("10s"):above "100/s" }'
    d:step(window(0, {}, { ["1"] = { syn = 90 } }))
    for at = 1, 4 do d:step(window(at, {}, nil)) end
    assert.near(105, last_value(d:step(window(5, {}, { ["1"] = { syn = 120 } })), "rate to.syn over 10s"), 1e-9)
  end)

  local LEARNS = [[rule "r" { when = rate("totals.syn"):above(rate("totals.syn"):baseline("100s", { warmup = "20s" }) * 3),
    clear = rate("totals.syn"):below(rate("totals.syn"):baseline("100s", { warmup = "20s" }) * 2) }]]

  it("know nothing before they have learnt, and learn nothing while the rule fires", function()
    local d = decider(LEARNS)
    assert.same({}, states(d:step(window(0, { syn = 90 }))))
    for at = 1, 19 do assert.same({}, states(d:step(window(at, { syn = at % 2 == 0 and 90 or 110 })))) end
    local result = d:step(window(20, { syn = 5000 }))
    assert.same({ "r firing" }, states(result))
    local learnt = last_value(result, "rate totals.syn baseline 1m40s")
    assert.is_true(learnt > 99 and learnt < 101, learnt)
    for at = 21, 60 do assert.same({}, states(d:step(window(at, { syn = 5000 })))) end
    result = d:step(window(61, { syn = 150 }))
    assert.same({ "r cleared" }, states(result))
    assert.equal(learnt, last_value(result, "rate totals.syn baseline 1m40s"))
  end)

  it("tell how far a figure is from what is normal", function()
    local d = decider 'rule "r" { when = rate("totals.syn"):deviation("100s", { warmup = "20s" }):above(4) }'
    for at = 0, 29 do assert.same({}, states(d:step(window(at, { syn = at % 2 == 0 and 90 or 110 })))) end
    assert.same({}, states(d:step(window(30, { syn = 130 }))))
    assert.same({ "r firing" }, states(d:step(window(31, { syn = 160 }))))
  end)

  it("freeze what is learnt of a key that fires, and go on with the others", function()
    local d = decider [[rule "r" { per = "to.dst",
      when = rate("to.syn"):above(rate("to.syn"):baseline("100s", { warmup = "10s" }) * 3) }]]
    for at = 0, 11 do d:step(window(at, {}, { ["1"] = { syn = 100 }, ["2"] = { syn = 100 } })) end
    assert.same({ "r 10.0.0.1 firing" }, states(d:step(window(12, {}, { ["1"] = { syn = 1000 }, ["2"] = { syn = 100 } }))))
    for at = 13, 80 do
      assert.same({}, states(d:step(window(at, {}, { ["1"] = { syn = 1000 }, ["2"] = { syn = 250 }, ["3"] = { syn = 9 } }))))
    end
    assert.same({ "r 10.0.0.1 cleared" }, states(d:step(window(81, {}, { ["1"] = { syn = 290 }, ["2"] = { syn = 290 } }))))
  end)

  it("are refused where they make no sense", function()
    for condition, expected in pairs {
      ['rate("to.syn"):over("1m"):over("2m"):above "1/s"'] = "there is no over of a measure with over (leave one of them out)",
      ['rate("to.syn"):baseline("7d"):ewma("2m"):above "1/s"'] = "there is no ewma of a measure with baseline (leave one of them out)",
    } do
      local decl, message = policy.load { source = ('return policy "p" { always = { flows "to" { features = { "tcp_flags" } } },'
        .. ' rules = { rule "r" { when = %s } } }'):format(condition), name = "p.lua", templates = templates }
      assert.is_nil(decl)
      assert.truthy(message:find(expected, 1, true), message)
    end
  end)
end)
