-- SPDX-License-Identifier: Apache-2.0
-- The engine on batches of the test's own: what a sink hears of windows, in which order, and when the level changes.
local engine = require "perilune.engine"
local event = require "perilune.event"
local plan = require "perilune.build.plan"
local policy = require "perilune.policy"
local template = require "perilune.probe.template"
local fake = dofile("tests/lua/fake_batch.lua")

local templates = template.registry({ "templates" }, function() return { "counter", "flows" } end)

local FLAGS = { "syn", "syn_ack", "fin", "rst", "psh", "ack", "urg", "ece", "cwr" }
local DIRECTION = { "direction", "enum", 4, key = true, names = { [0] = "ingress", [1] = "egress" } }

local function specs(...)
  local list = {}
  for _, part in ipairs { ... } do list[#list + 1] = type(part) == "string" and { part, "uint", 8 } or part end
  return list
end

local TOTALS = specs(DIRECTION, "packets", "skbs", "bytes", "frame_bytes", "not_ip", "truncated", "malformed",
  "bad_length", "bad_headers", "bad_transport")
local COUNTER = specs(DIRECTION, "packets", "skbs", "bytes", "frame_bytes", unpack(FLAGS))
local ROWS = specs({ "dst", "address", key = true }, { "ip_version", "uint", 1, key = true }, "packets", "skbs", "bytes", unpack(FLAGS))
local OTHER = specs({ "index", "uint", 4, key = true }, "packets", "skbs", "bytes", unpack(FLAGS))

local POLICY = [[
  local to = flows "to" { key = "dst", features = { "tcp_flags" }, entries = 4 }
  return policy "p" {
    attach = { iface = "lo", hook = "%s" }, window = "1s",
    always = { counter "totals" { features = { "tcp_flags" } } },
    levels = { level "calm" {}, level "deep" { to, window = "100ms" } },
    sets = { set "victims" { of = "dst", max = 8 } },
    rules = {
      rule "surge" { when = rate "totals.syn":above "100/s", clear = rate "totals.syn":below "10/s", hold = "deep" },
      rule "victim" { per = "to.dst", when = rate "to.syn":above "100/s", clear = rate "to.syn":below "10/s", act = { add "victims" } },
    },
    %s
  }]]

local function sink(wants)
  local out = { events = {}, wants_records = true }
  for name, value in pairs(wants or {}) do out[name] = value end
  function out.event(_, e)
    out.events[#out.events + 1] = e
    if out.failing then return nil, "the output is closed", "EPIPE" end
    return true
  end
  return out
end

-- An engine for a policy's text (default: POLICY at a hook), and its sink.
local function made(options)
  options = options or {}
  local text = options.text or POLICY:format(options.hook or "tc.ingress", options.exports or "")
  local decl = assert(policy.load { source = text, name = "p.lua", templates = templates })
  local planned = plan.build(decl, { share = "/share" })
  local out = sink(options.sink)
  local self = engine.new { decl = decl, planned = planned, sink = out, dry_run = options.dry_run }
  self:begin(options.wall or 1000000, 1, decl.levels[1])
  return self, out, decl
end

-- Batches of a window by position: totals, counter, rows, other. `rows` nil: `to` did not run.
local function batches(totals, counter, rows, other)
  return {
    fake.new(TOTALS, totals), fake.new(COUNTER, counter), rows and fake.new(ROWS, rows) or nil,
    rows and fake.new(OTHER, { other or {} }) or nil,
  }
end

local function simple(packets, syn, rows, other)
  local one = { direction = 0, packets = packets, skbs = packets, bytes = packets * 40, syn = syn }
  return batches({ one, { direction = 1 } }, { one, { direction = 1 } }, rows, other)
end

local function of(out, name)
  local list = {}
  for _, e in ipairs(out.events) do
    if e.event == name then list[#list + 1] = e end
  end
  return list
end

local function names(out)
  local list = {}
  for i, e in ipairs(out.events) do list[i] = e.event end
  return table.concat(list, " ")
end

-- Closes the current window after `seconds`, and begins the next, as a driver does.
local function close(self, seconds, closed, cut)
  local current = self.current
  local level = self:level()
  local wall, mono = current.start + seconds * 1e6, current.mono + seconds
  local changed = self:close(cut or "clock", wall, mono, closed)
  self:begin(wall, mono, changed and self:level() or level)
  return changed
end

describe("a closed window", function()
  it("has the hook's totals, each way, and what could not be parsed", function()
    local self, out = made { hook = "tc" }
    close(self, 1, batches({
      { direction = 0, packets = 10, skbs = 8, bytes = 400, not_ip = 1, truncated = 2, malformed = 3, bad_length = 7 },
      { direction = 1, packets = 5, skbs = 5, bytes = 300, not_ip = 4 },
    }, {}))
    local w = of(out, "window")[1]
    assert.same({ 15, 13, 700 }, { w.packets, w.skbs, w.bytes })
    assert.same({ not_ip = 5, truncated = 2, malformed = 3 }, w.not_parsed_by)
    assert.same({ bad_length = 7, bad_headers = 0, bad_transport = 0 }, w.flawed_by)
    assert.same({ map_full = 0, evicted = 0, ring_full = 0, not_parsed = 10, late = 0, limited = 0 }, w.loss)
    assert.same({ ingress = { packets = 10, skbs = 8, bytes = 400 }, egress = { packets = 5, skbs = 5, bytes = 300 } }, w.directions)
    assert.same({ 1, "calm", "clock", 1, 1000000, 2000000 }, { w.seq, w.level, w.cut, w.seconds, w.start, w.finish })
    assert.same({ "p", 2000000 }, { w.policy, w.time })
  end)

  it("shows only the directions of its hooks", function()
    local self, out = made { hook = "tc.ingress" }
    close(self, 1, simple(3, 0))
    assert.same({ ingress = { packets = 3, skbs = 3, bytes = 120 } }, of(out, "window")[1].directions)
  end)

  it("counts what has passed, the window that goes on included", function()
    local self = made()
    close(self, 1, simple(7, 0))
    assert.equal(7, self:passed())
    assert.equal(12, self:passed(simple(5, 0)[1]))
    close(self, 1, simple(5, 0))
    assert.equal(12, self:passed())
  end)

  it("sums up to the summary, to the packet", function()
    local self, out = made()
    for i = 1, 5 do close(self, 1, simple(i, 0)) end
    self:summary(99, { { iface = "lo", hook = "tc.ingress", mode = "tcx" } })
    local s = of(out, "summary")[1]
    assert.same({ 15, 15, 600, 5, 0, 5, 99 }, { s.packets, s.skbs, s.bytes, s.windows, s.transitions, s.seconds, s.time })
    assert.same({ ingress = { packets = 15, skbs = 15, bytes = 600 } }, s.directions)
    assert.equal("tcx", s.detached[1].mode)
  end)

  it("makes events that their schema knows", function()
    local self, out = made()
    close(self, 1, simple(500, 500))
    close(self, 0.1, simple(500, 500, { { dst = "10.0.0.1", ip_version = 4, packets = 500, syn = 500 } }))
    self:summary(1, {})
    for _, e in ipairs(out.events) do
      if e.rows_json then e.rows_json = "[]" end -- of the fake batch it is none
      assert.truthy(event.encode(e), e.event)
    end
    assert.equal("window records rule transition window records records rule action summary", names(out))
  end)

  it("frees its batches, whatever came of it", function()
    local self = made()
    local all = simple(500, 500)
    close(self, 1, all)
    for _, batch in pairs(all) do assert.is_true(batch.closed) end
  end)

  it("takes whole µs, and not less than none", function()
    local self, out = made()
    self:close("clock", 1000001, 1.0000014, simple(1, 0))
    assert.equal(0.000001, of(out, "window")[1].seconds)
    self:begin(1000001, 2, (self:level()))
    self:close("clock", 1000001, 1.9, simple(1, 0))
    assert.equal(0, of(out, "window")[2].seconds)
  end)
end)

describe("loss", function()
  it("is what did not fit in a map, and what had no key", function()
    local self, out = made()
    close(self, 1, simple(500, 500))
    local closed = simple(20, 20, { { dst = "10.0.0.1", ip_version = 4, packets = 12 } }, { packets = 5 })
    closed[1]:put(1, "truncated", 3)
    close(self, 0.1, closed)
    local window, records = of(out, "window")[2], of(out, "records")
    assert.same({ 5, 3 }, { window.loss.map_full, window.loss.not_parsed })
    assert.equal("to", records[3].probe)
    assert.same({ 5, 3 }, { records[3].loss.map_full, records[3].loss.not_parsed })
    assert.same({ 0, 0 }, { records[2].loss.map_full, records[2].loss.not_parsed }) -- a counter counts every packet
    self:summary(1, {})
    assert.same({ 5, 3 }, { of(out, "summary")[1].loss.map_full, of(out, "summary")[1].loss.not_parsed })
  end)

  it("is also events that a ring had no room for: a probe's, and the policy's own", function()
    local self, out = made()
    local LOST = specs({ "index", "uint", 4, key = true }, "events")
    local windows = self.planned.windows
    windows[#windows + 1] = { map = "to_events_lost", kind = "array", role = "lost", probe = "to" }
    windows[#windows + 1] = { map = "events_lost", kind = "array", role = "lost" }
    close(self, 1, simple(500, 500))
    local closed = simple(20, 20, {})
    closed[5], closed[6] = fake.new(LOST, { { events = 7 } }), fake.new(LOST, { { events = 2 } })
    close(self, 0.1, closed)
    assert.equal(9, of(out, "window")[2].loss.ring_full)
    local records = of(out, "records")
    assert.same({ "to", 7 }, { records[3].probe, records[3].loss.ring_full })
    assert.same({ "totals", 0 }, { records[2].probe, records[2].loss.ring_full })
    assert.is_true(closed[5].closed and closed[6].closed)
  end)
end)

describe("records", function()
  local ROW_LIST = {
    { dst = "10.0.0.1", ip_version = 4, packets = 1, syn = 9 }, { dst = "10.0.0.2", ip_version = 4, packets = 9, syn = 1 },
    { dst = "10.0.0.3", ip_version = 4, packets = 5, syn = 5 },
  }

  local function at_deep(options)
    local self, out = made(options)
    close(self, 1, simple(500, 500))
    close(self, 0.1, simple(15, 15, ROW_LIST))
    return out
  end

  it("are all rows, unless the policy asks for the first of them", function()
    local all = of(at_deep(), "records")[3]
    assert.same({ "all limit nil", 0 }, { all.rows_json, all.omitted })
    local named = of(at_deep { exports = 'exports = { records "to" {} },' }, "records")[3]
    assert.same({ "all limit nil", 0 }, { named.rows_json, named.omitted })
    local some = of(at_deep { exports = 'exports = { records "to" { top = { 2, "syn" } } },' }, "records")[3]
    assert.same({ "1,3 limit nil", 1 }, { some.rows_json, some.omitted })
  end)

  it("are those of the level's probes", function()
    local self, out = made()
    -- `to` is not at this level; its maps were read all the same.
    close(self, 1, simple(1, 0, ROW_LIST))
    assert.equal(1, #of(out, "records"))
    assert.same({ "totals", "counter", "calm", 1 }, { of(out, "records")[1].probe, of(out, "records")[1].template,
      of(out, "records")[1].level, of(out, "records")[1].sample_rate })
  end)

  it("of a counter are those of the directions its hooks see", function()
    assert.equal("1 limit nil", of(at_deep { hook = "tc.ingress" }, "records")[1].rows_json)
    assert.equal("2 limit nil", of(at_deep { hook = "tc.egress" }, "records")[1].rows_json)
    assert.equal("all limit nil", of(at_deep { hook = "tc" }, "records")[1].rows_json)
  end)

  it("are not made for a sink that does not want them", function()
    assert.equal(0, #of(at_deep { sink = { wants_records = false } }, "records"))
  end)

  it("come as the first rows and as sets for a screen", function()
    local window = of(at_deep { sink = { wants_top = true, wants_records = false } }, "window")[2]
    assert.equal(1, #window.top)
    local top = window.top[1]
    assert.same({ "to", { "dst" }, 0, 3 }, { top.probe, top.key_fields, top.more, #top.rows })
    assert.equal("10.0.0.2", top.rows[1].dst)
    assert.same({ victims = {} }, window.sets)
    assert.is_nil(of(at_deep(), "window")[2].top)
  end)

  it("that are too many are an error and none, and the run goes on", function()
    local self, out = made()
    local closed = simple(5, 0)
    closed[2].json = function() return nil, "larger than 64 MB", "EOVERFLOW" end
    close(self, 1, closed)
    local failed, records = of(out, "error")[1], of(out, "records")[1]
    assert.equal("records of totals: larger than 64 MB", failed.message)
    assert.truthy(failed.hint:find("exports", 1, true))
    assert.equal("[]", records.rows_json)
    assert.equal(2, records.omitted)
  end)
end)

describe("a change of level", function()
  it("follows from rules, with their reason and values, and is told to the driver", function()
    local self, out = made()
    assert.is_nil(close(self, 1, simple(50, 50)))
    assert.equal("level", close(self, 1, simple(500, 500)))
    assert.equal("deep", self:level().name)
    assert.same({ 1 }, { select(2, self:level()) })
    local t = of(out, "transition")[1]
    assert.same({ "calm", "deep", "surge", { "surge" }, 2 }, { t.from, t.to, t.rule, t.held_by, t.seq })
    assert.truthy(t.reason:find("surge: rate totals.syn 500/s above 100/s", 1, true), t.reason)
    assert.equal(500, t.values["rate totals.syn"])
    assert.equal("window records window records rule transition", names(out))
  end)

  it("back has the reason of the rule that let go", function()
    local self, out = made()
    close(self, 1, simple(500, 500))
    assert.equal("level", close(self, 0.1, simple(0, 0, {})))
    local t = of(out, "transition")[2]
    assert.same({ "deep", "calm" }, { t.from, t.to })
    assert.truthy(t.reason:find("surge", 1, true) and t.reason:find("below 10/s", 1, true), t.reason)
    self:summary(1, {})
    assert.equal(2, of(out, "summary")[1].transitions)
  end)

  it("acts, and names members", function()
    local self, out = made()
    close(self, 1, simple(500, 500))
    close(self, 0.1, simple(500, 500, { { dst = "10.0.0.9", ip_version = 4, packets = 500, syn = 500 } }))
    local a = of(out, "action")[1]
    assert.same({ "add", "victims", "10.0.0.9", "victim", false, 2 }, { a.act, a.set, a.member, a.rule, a.undo, a.seq })
  end)

  it("does not follow from a window that was cut short", function()
    for _, cut in ipairs { "level", "exit" } do
      local self, out = made()
      assert.is_nil(close(self, 0.01, simple(500, 500), cut))
      assert.equal(0, #of(out, "transition") + #of(out, "rule"), cut)
      assert.same({ cut, 500 }, { of(out, "window")[1].cut, of(out, "window")[1].packets }) -- counted all the same
    end
  end)

  it("is only said, not made, in a dry run", function()
    local self, out = made { dry_run = true }
    assert.is_nil(close(self, 1, simple(500, 500)))
    assert.equal("calm", self:level().name)
    assert.same({ 1, 0 }, { #of(out, "rule"), #of(out, "transition") })
  end)

  it("keeps the engine from rest until all is cleared", function()
    local self = made()
    assert.is_true(self:at_rest())
    close(self, 1, simple(500, 500))
    assert.is_false(self:at_rest())
    close(self, 0.1, simple(0, 0, {}))
    assert.is_true(self:at_rest())
  end)

  it("decides when the next window is due", function()
    local self = made()
    assert.equal(2, self:due())
    close(self, 1, simple(500, 500))
    assert.equal(2.1, self:due())
  end)
end)

describe("a claim", function()
  local function claimed(options)
    local self, out = made(options)
    self.asked = 0
    function self.claimed() self.asked = self.asked + 1 end
    return self, out
  end

  it("asks the driver at once, which cuts the window; the change is told after that", function()
    local self, out = claimed()
    self:claim("schedule night", { hold = "deep", cut = "schedule", why = "it is night", values = { hour = 22 } })
    assert.equal(1, self.asked)
    assert.equal("schedule", self:reconsider(1.5 * 1e6, 1.5))
    assert.same({ "deep", 0 }, { self:level().name, #out.events })
    assert.is_nil(self:reconsider(1.6 * 1e6, 1.6))
    assert.is_nil(close(self, 0.5, simple(7, 0), "schedule"))
    assert.same({ "schedule", "calm" }, { of(out, "window")[1].cut, of(out, "window")[1].level })
    local t = of(out, "transition")[1]
    assert.same({ "calm", "deep", nil, { "schedule night" }, {}, 1, 22 },
      { t.from, t.to, t.rule, t.held_by, t.capped_by, t.seq, t.values.hour })
    assert.equal("deep held by schedule night (it is night)", t.reason)
    assert.equal("window records transition", names(out))
    assert.truthy(event.encode(t))
  end)

  it("does not ask for what changes nothing", function()
    local self = claimed()
    self:claim("budget", { cap = "calm" })
    self:claim("budget", { cap = "calm" })
    assert.equal(1, self.asked)
    assert.is_nil(self:reconsider(1.5 * 1e6, 1.5))
  end)

  it("caps what a rule holds; both are told, with the rule's values", function()
    local self, out = claimed()
    self:claim("budget", { cap = "calm" })
    assert.is_nil(close(self, 1, simple(500, 500)))
    self:claim("budget", {})
    assert.equal("level", self:reconsider(2.5 * 1e6, 2.5))
    close(self, 0.5, simple(0, 0), "level")
    local t = of(out, "transition")[1]
    assert.same({ "deep", "surge", { "surge" }, {} }, { t.to, t.rule, t.held_by, t.capped_by })
    assert.equal("no longer capped at calm by budget, deep held by surge", t.reason)
    self:claim("budget", { cap = "calm" })
    self:reconsider(2.6 * 1e6, 2.6)
    close(self, 0.1, simple(0, 0, {}), "level")
    t = of(out, "transition")[2]
    assert.same({ "calm", { "surge" }, { "budget" } }, { t.to, t.held_by, t.capped_by })
  end)

  it("of a person holds and caps, for its time", function()
    local self, out = claimed()
    assert.same({ nil, 'p: there is no level "deeep" (did you mean "deep"?)' }, { self:pin("deeep", 1) })
    assert.is_true(self:pin("deep", 1, 600))
    assert.equal(601, self:alarm(1e6, 1))
    assert.equal("level", self:reconsider(1.5 * 1e6, 1.5))
    close(self, 0.5, simple(0, 0), "level")
    assert.is_nil(self:reconsider(600.9 * 1e6, 600.9))
    assert.equal("level", self:reconsider(601 * 1e6, 601))
    close(self, 599.5, simple(0, 0, {}), "level")
    assert.same({ { "operator" }, { "operator" } }, { of(out, "transition")[1].held_by, of(out, "transition")[1].capped_by })
    assert.equal("deep is no longer held (operator has ended)", of(out, "transition")[2].reason)
    assert.equal(math.huge, self:alarm(1e6, 1))
    self:pin("deep", 700)
    assert.equal(math.huge, self:alarm(1e6, 1))
    self:unpin()
    assert.is_nil(self:reconsider(701 * 1e6, 701))
  end)

  it("made while a window is judged counts with it", function()
    local self, out = claimed()
    function out.event(_, e)
      out.events[#out.events + 1] = e
      if e.event == "window" and e.seq == 1 then self:claim("budget", { cap = "calm" }) end
      return true
    end
    assert.is_nil(close(self, 1, simple(500, 500)))
    assert.same({ 0, "calm" }, { self.asked, self:level().name })
  end)

  it("does nothing in a dry run", function()
    local self = claimed { dry_run = true }
    self:pin("deep", 1, 5)
    assert.is_nil(self:reconsider(2 * 1e6, 2))
    assert.same({ "calm", math.huge }, { self:level().name, self:alarm(1e6, 1) })
  end)
end)

describe("a window whose lease ran out", function()
  it("is counted and told, and nothing is judged by it", function()
    local self, out = made()
    self:lapse(3.5)
    assert.is_nil(close(self, 5, simple(5000, 5000)))
    assert.same({ 5000, 1, 0 }, { of(out, "window")[1].packets, #of(out, "error"), #of(out, "rule") })
    assert.equal("window 1: the lease of calm ran out, and calm ran for its last 3.5s", of(out, "error")[1].message)
    assert.equal("level", close(self, 1, simple(500, 500)))
  end)
end)

describe("what goes wrong", function()
  it("in a sink is kept for the driver, the first of it", function()
    local self, out = made { sink = { failing = true } }
    close(self, 1, simple(1, 0))
    assert.same({ "the output is closed", "EPIPE" }, self.sink_failure)
    assert.equal("window records", names(out))
  end)

  it("in a policy's function is an error event, once, with its line", function()
    local self, out = made { text = [[
      return policy "p" {
        attach = { iface = "lo", hook = "tc.ingress" }, window = "1s",
        always = { counter "totals" {} },
        rules = { rule "broken" { when = function(w) return w.totals[1].packets > w.nothing end, act = { log } } },
      }]] }
    for _ = 1, 3 do close(self, 1, { fake.new(TOTALS, { {} }), fake.new(COUNTER, { {} }) }) end
    local failures = of(out, "error")
    assert.equal(1, #failures)
    assert.truthy(failures[1].message:find("a window has no nothing", 1, true), failures[1].message)
    assert.truthy(failures[1].message:find("p.lua:4", 1, true), failures[1].message)
    assert.equal(3, #of(out, "window"))
  end)
end)

describe("an event of the policy's own", function()
  local EMIT = [[
    return policy "p" { attach = { iface = "lo", hook = "tc.ingress" }, window = "1s",
      always = { counter "totals" { features = { "tcp_flags" } } },
      rules = { rule "surge" { when = rate "totals.syn":above "100/s", act = { emit "flood" { team = "net", page = true } } } } }]]

  it("is emitted when its rule fires, in place of the action", function()
    local self, out = made { text = EMIT }
    close(self, 1, simple(500, 300))
    local e = of(out, "emit")[1]
    assert.same({ "flood", "surge", 1, "surge: rate totals.syn 300/s above 100/s" }, { e.name, e.rule, e.seq, e.reason })
    assert.same({ { team = "net", page = true }, { ["rate totals.syn"] = 300 } }, { e.fields, e.values })
    assert.same({}, of(out, "action"))
    assert.truthy(event.encode(e):find('"values":{"rate totals.syn":300},"fields":{"page":true,"team":"net"}}', 1, true))
  end)

  it("is only said to be in a dry run", function()
    local self, out = made { text = EMIT, dry_run = true }
    close(self, 1, simple(500, 300))
    assert.same({}, of(out, "emit"))
    local action = of(out, "action")[1]
    assert.same({ "emit", "flood", true }, { action.act, action.text, action.dry_run })
    assert.truthy(event.encode(action))
  end)
end)

describe("a trigger that trips", function()
  local TEXT = [[
    return policy "p" {
      attach = { iface = "lo", hook = "tc.ingress" }, window = "1s",
      always = { counter "totals" { features = { "tcp_flags" } } },
      levels = { level "calm" {}, level "deep" { flows "to" { key = "dst", features = { "tcp_flags" } }, window = "100ms" } },
      rules = {
        rule "surge" { trigger = "50ms", when = (rate "totals.syn" - rate "totals.syn_ack"):above "100/s",
          clear = rate "totals.syn":below "10/s", hold = "deep", act = log },
        rule "any" { trigger = "20ms", when = rate "totals.packets":above "1k/s", act = log },
      },
    }]]
  local LOST = specs({ "index", "uint", 4, key = true }, "events")

  -- As `simple`, with the events that triggers have lost at their place.
  local function counted(packets, syn, lost)
    local list = simple(packets, syn, {})
    table.insert(list, 2, fake.new(LOST, { { events = lost or 0 } }))
    return list
  end

  local function trip(self, index, mono, ...)
    return self:trip({ trigger = index, mono = mono, by = { ... } }, math.floor(mono * 1e6))
  end

  it("makes its rule fire at once, by what the slice has counted, and ends the window", function()
    local self, out = made { text = TEXT }
    assert.same({ 3, 1 }, { self:triggers() }) -- the second leads nowhere
    assert.equal("trigger", trip(self, 0, 1.25, 9, 3))
    local fired = of(out, "rule")[1]
    assert.same({ "surge", "firing", "trigger", 1, 1250000 }, { fired.rule, fired.state, fired.why, fired.seq, fired.time })
    assert.equal("surge: rate totals.syn - rate totals.syn_ack 120/s above 100/s in 50ms", fired.reason)
    assert.same({ ["rate totals.syn - rate totals.syn_ack"] = 120, ["rate totals.syn"] = 180, ["rate totals.syn_ack"] = 60 },
      fired.values)
    assert.equal("log", of(out, "action")[1].act)
    assert.same({ 2, 0 }, { self:triggers() })
    assert.equal("deep", (self:level()).name)
    assert.equal(0, #of(out, "transition")) -- it is told with the window that it ends
    assert.is_nil(close(self, 0.25, counted(20, 9, 2), "trigger"))
    local step, window = of(out, "transition")[1], of(out, "window")[1]
    assert.same({ 1, "calm", "deep", "surge" }, { step.seq, step.from, step.to, step.rule })
    assert.equal(fired.reason, step.reason)
    assert.same({ "calm", "trigger", 20, 2 }, { window.level, window.cut, window.packets, window.loss.ring_full })
    assert.equal("deep", self.current.level.name)
    -- From then on windows decide, as always.
    close(self, 0.1, counted(50, 50))
    assert.equal(1, #of(out, "transition"))
    assert.equal("level", close(self, 0.1, counted(0, 0)))
    assert.equal("calm", of(out, "transition")[2].to)
    assert.same({ 3, 1 }, { self:triggers() })
  end)

  it("is not heard again while its rule fires", function()
    local self, out = made { text = TEXT }
    trip(self, 0, 1.25, 9, 3)
    assert.is_nil(trip(self, 0, 1.26, 99, 3))
    assert.is_nil(trip(self, 1, 1.27, 30))
    assert.equal(2, #of(out, "rule"))
    assert.same({ 0, 0 }, { self:triggers() })
  end)

  it("does not raise what may not be entered", function()
    local self, out = made { text = TEXT }
    self:claim("budget", { cap = "calm" })
    assert.same({ 3, 0 }, { self:triggers() })
    assert.is_nil(trip(self, 0, 1.25, 9, 3))
    assert.equal("firing", of(out, "rule")[1].state)
    assert.equal("calm", (self:level()).name)
    self, out = made { text = TEXT, dry_run = true }
    assert.same({ 3, 0 }, { self:triggers() })
    assert.is_nil(trip(self, 0, 1.25, 9, 3))
    assert.equal("firing", of(out, "rule")[1].state)
    assert.equal(0, #of(out, "transition"))
  end)

  it("may have left a window with counts of several levels, which says so", function()
    local self, out = made { text = TEXT }
    assert.is_falsy(self:maps()[4])
    assert.is_true(self:maps(1)[4])
    trip(self, 0, 1.20, 9, 3)
    self:trip({ trigger = 0, mono = 1.2, by = { 9, 3 }, raised = true }, 1200000)
    local closed = simple(20, 9, { { dst = "10.0.0.1", ip_version = 4, packets = 12 } })
    table.insert(closed, 2, fake.new(LOST, { {} }))
    close(self, 0.25, closed, "trigger")
    local window = of(out, "window")[1]
    assert.same({ "calm", "deep" }, { window.level, window.deepest })
    assert.is_true(math.abs(window.deepest_seconds - 0.05) < 1e-6)
    local probes = {}
    for i, e in ipairs(of(out, "records")) do probes[i] = e.probe end
    assert.same({ "totals", "to" }, probes)
  end)
end)
