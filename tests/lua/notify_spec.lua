-- SPDX-License-Identifier: Apache-2.0
-- What receivers are told, and when, on a clock of the test's own; and the bodies that go out, held against their form.
local cjson = require "cjson"
local notification = require "perilune.event.notification"
local notify = require "perilune.run.notify"
local policy = require "perilune.policy"
local receivers = require "perilune.policy.receivers"
local times = require "perilune.calendar.times"

local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local templates = dofile(HERE .. "/fake_templates.lua")

local T0 = 1767225600 -- 2026-01-01T00:00:00Z

-- The plain declaration of a receiver with this body.
local function declared(body)
  local text = ('return policy "p" { always = { counter "totals" {} }, receivers = { receiver "soc" { %s } } }'):format(body)
  return assert(policy.load { source = text, name = "p.lua", templates = templates }).receivers[1]
end

-- A queue with shorthands, of which each takes the time in seconds.
local function queue(body)
  local q = notify.new(declared((body or "") .. ' command = "true"'), 0)
  local function wall(now) return (T0 + now) * 1e6 end
  return {
    q = q,
    fire = function(now, rule, key)
      return q:fire({ rule = rule, key = key, reason = rule .. " fires", values = { x = now }, start = wall(now) }, now, wall(now))
    end,
    clear = function(now, rule, key) q:clear(rule, key, wall(now), rule .. " is over", now) end,
    next = function(now)
      local message = q:next(now, wall(now))
      if not message then return nil end
      local list = {}
      for i, alert in ipairs(message.alerts) do list[i] = alert.state .. " " .. alert.rule .. (alert.key and " " .. alert.key or "") end
      return table.concat(list, ", "), message
    end,
    ok = function(now) return q:done(true, nil, now) end,
    fail = function(now) return q:done(false, true, now) end,
  }
end

describe("a receiver", function()
  it("is told at once what one window brings, in one message, and when it is over", function()
    local r = queue ""
    assert.is_nil(r.next(1))
    assert.is_nil(r.q:due(1))
    assert.equal("waits", r.fire(1, "a", "10.0.0.1"))
    r.fire(1, "a", "10.0.0.2")
    assert.equal(1, r.q:due(1))
    local text, message = r.next(1)
    assert.equal("firing a 10.0.0.1, firing a 10.0.0.2", text)
    assert.same({ 2, 0, 1 }, { message.firing, message.resolved, message.attempt })
    r.clear(2, "a", "10.0.0.1")
    assert.is_nil(r.next(2)) -- one message at a time
    assert.equal("told", r.ok(3))
    text, message = r.next(3)
    assert.equal("resolved a 10.0.0.1", text)
    assert.same({ (T0 + 1) * 1e6, (T0 + 2) * 1e6, "a fires", "a is over" },
      { message.alerts[1].start, message.alerts[1].finish, message.alerts[1].reason, message.alerts[1].over })
    r.ok(4)
    r.clear(5, "a", "10.0.0.2")
    r.fire(5, "a", "10.0.0.1")
    assert.equal("resolved a 10.0.0.2, firing a 10.0.0.1", r.next(5))
    r.ok(5)
    assert.same({ true, 1 }, { r.q:is_empty(), r.q.count })
  end)

  it("is told of what was short with its beginning and its end", function()
    local r = queue 'group = "30s",'
    r.fire(1, "a")
    r.clear(3, "a")
    r.fire(20, "b")
    assert.is_nil(r.next(30.9))
    assert.equal(31, r.q:due(20))
    local text, message = r.next(31)
    assert.equal("resolved a, firing b", text)
    assert.equal(2e6, message.alerts[1].finish - message.alerts[1].start)
    r.ok(31)
    r.clear(32, "a") -- of which nothing is known any more
    assert.is_nil(r.next(100))
  end)

  it("is not told of an end that it does not want to know of", function()
    local r = queue "resolve = false,"
    r.fire(1, "a")
    r.clear(1, "a")
    assert.equal("firing a", r.next(1))
    r.ok(1)
    r.fire(2, "b")
    assert.equal("firing b", r.next(2))
    r.ok(2)
    r.clear(3, "b")
    assert.is_nil(r.next(3))
    assert.equal(0, r.q.count)
  end)

  it("gets no more messages than its rate allows; what has to wait goes with the next", function()
    local r = queue 'rate = "2/min",'
    for second = 1, 20 do
      r.fire(second, "r" .. second)
      if r.next(second) then r.ok(second) end
    end
    assert.equal(2, r.q.told)
    assert.near(31, r.q:due(20), 1e-3)
    assert.is_nil(r.next(30.9))
    local _, message = r.next(31.001)
    assert.equal(18, message.firing)
    r.ok(31.001)
    r.fire(32, "x")
    assert.is_nil(r.next(60))
    assert.equal("firing x", r.next(61.01))
  end)

  it("is tried again, later and later, and then no more", function()
    local r = queue "retries = 3,"
    r.fire(1, "a")
    local attempts, now = {}, 1
    for _ = 1, 10 do
      local text, message = r.next(now)
      if text then
        attempts[#attempts + 1] = { now, message.attempt }
        assert.equal("firing a", text)
        now = now + 0.5
        local fate, wait = r.fail(now)
        if fate == "lost" then break end
        assert.equal("again", fate)
        assert.equal(now + wait, r.q:due(now))
        assert.is_nil(r.next(now + wait - 0.01))
        now = now + wait
      end
    end
    assert.same({ { 1, 1 }, { 2.5, 2 }, { 5, 3 }, { 9.5, 4 } }, attempts)
    assert.same({ 1, 0, true }, { r.q.lost, r.q.told, r.q:is_empty() })
    r.clear(20, "a")
    assert.equal("resolved a", r.next(20)) -- it may have arrived all the same
    assert.equal("lost", r.q:done(false, false, 20)) -- where another attempt cannot help
  end)

  it("has room for so many; what is dropped is counted and said", function()
    local r = queue "queue = 3,"
    for i = 1, 5 do assert.equal(i <= 3 and "waits" or "dropped", r.fire(1, "a", tostring(i))) end
    assert.equal(2, r.q.dropped)
    local text, message = r.next(1)
    assert.equal("firing a 1, firing a 2, firing a 3", text)
    assert.equal(2, message.dropped)
    r.ok(1)
    assert.equal("dropped", r.fire(2, "b"))
    r.clear(2, "a", "1")
    r.clear(2, "a", "4")
    text, message = r.next(2)
    assert.equal("resolved a 1", text)
    assert.equal(1, message.dropped)
    assert.equal("waits", r.fire(3, "b"))
  end)

  it("takes ten thousand in messages of a size that can be sent", function()
    local r = queue ""
    for i = 1, 10000 do r.fire(1, "a", tostring(i)) end
    local seen, messages = {}, 0
    while true do
      local text, message = r.next(1)
      if not text then break end
      messages = messages + 1
      for _, alert in ipairs(message.alerts) do
        assert.is_nil(seen[alert.key])
        seen[alert.key] = true
      end
      r.ok(1)
    end
    assert.same({ 20, 10000, 0 }, { messages, r.q.told, r.q.dropped })
    for i = 1, 10000 do r.clear(2, "a", tostring(i)) end
    while r.next(2) do r.ok(2) end
    assert.same({ 20000, 0 }, { r.q.told, r.q.count })
  end)

  it("waits neither for group nor rate at the end", function()
    local r = queue 'group = "1h", rate = "1/h",'
    r.fire(1, "a")
    assert.is_nil(r.next(2))
    r.q:close()
    assert.equal("firing a", r.next(2))
    r.fail(2)
    assert.equal("firing a", r.next(2))
    r.ok(2)
    r.clear(3, "a")
    assert.equal("resolved a", r.next(3))
  end)
end)

describe("a silence", function()
  it("of a time holds for the first part of a run; what still fires then is told", function()
    local r = queue 'silence = "1m",'
    assert.equal("silenced", r.fire(1, "short"))
    assert.equal("silenced", r.fire(2, "long"))
    r.clear(10, "short")
    assert.is_nil(r.next(59))
    assert.equal(64, r.q:due(59))
    assert.equal("firing long", r.next(64))
    r.ok(64)
    assert.equal(2, r.q.silenced)
    assert.equal("waits", r.fire(65, "short"))
  end)

  it("of a matcher holds for rules and keys: globs, and networks", function()
    local r = queue [[silence = { { rule = "scan*", key = "10.0.0.0/8" }, { key = "fe80::/10" }, { rule = "quiet" } },]]
    local function fate(rule, key) return r.fire(1, rule, key) end
    assert.equal("silenced", fate("scanner", "10.1.2.3"))
    assert.equal("waits", fate("scanner", "11.1.2.3"))
    assert.equal("waits", fate("victim", "10.1.2.3"))
    assert.equal("silenced", fate("victim", "fe80::1"))
    assert.equal("silenced", fate("quiet"))
    r.clear(2, "quiet")
    assert.equal("firing scanner 11.1.2.3, firing victim 10.1.2.3", r.next(2))
    assert.equal("silenced", queue('silence = { key = "www.*" },').fire(1, "r", "www.example.org"))
  end)

  it("may have a time of the day, over midnight too, or dates", function()
    local function holds(seconds, from, to)
      return times.between(seconds, from and times.point(from), to and times.point(to))
    end
    local midnight = os.time { year = 2026, month = 3, day = 10, hour = 0 } -- local
    local got = {}
    for i, hour in ipairs { 0, 5, 6, 12, 21, 22, 23 } do got[i] = holds(midnight + hour * 3600, "22:00", "06:00") end
    assert.same({ true, true, false, false, false, true, true }, got)
    for i, hour in ipairs { 0, 5, 6, 12, 21, 22, 23 } do got[i] = holds(midnight + hour * 3600, "6:00", "22:00") end
    assert.same({ false, false, true, true, true, false, false }, got)
    assert.is_true(holds(T0, "2026-01-01", "2026-01-01T00:00:01Z"))
    assert.is_false(holds(T0 + 1, "2026-01-01", "2026-01-01T00:00:01Z"))
    assert.is_false(holds(T0 - 1, "2026-01-01"))
    assert.is_true(holds(T0 - 1, nil, "2026-01-01"))
    for seconds = 0, 4e9, 86400 * 11 + 3601 do
      assert.equal(seconds, times.point(os.date("!%Y-%m-%dT%H:%M:%SZ", seconds)).at)
    end
    for _, wrong in ipairs { "24:00", "6", "2026-13-01", "2026-02-30", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00" } do
      assert.is_nil((times.point(wrong)))
    end
    local r = queue 'silence = { to = "2026-01-01T00:01:00Z" },'
    assert.equal("silenced", r.fire(1, "a"))
    assert.is_nil(r.next(59.9))
    assert.equal("firing a", r.next(65))
  end)
end)

describe("a notification", function()
  local ABOUT = { policy = "syn-flood", receiver = "soc", host = "sensor1" }

  local function body(...)
    local message = { alerts = { ... }, firing = 0, resolved = 0, dropped = 7 }
    for _, alert in ipairs(message.alerts) do message[alert.state] = message[alert.state] + 1 end
    local text = notification.body(message, ABOUT)
    assert.is_nil(text:find "\n")
    return cjson.decode(text)
  end
  local FIRING = { state = "firing", rule = "victim", key = "10.0.0.1", reason = 'a "b" \1 \255', values = { syn = 12.5, nan = 0 / 0 },
    start = T0 * 1e6 + 250 }
  local RESOLVED = { state = "resolved", rule = "surge", reason = "much", over = "little", values = {}, start = T0 * 1e6,
    finish = (T0 + 90) * 1e6 }

  it("has the form of Alertmanager's", function()
    local b = body(FIRING, RESOLVED)
    assert.same({ "4", "soc", "firing", 7, 2 }, { b.version, b.receiver, b.status, b.truncatedAlerts, #b.alerts })
    assert.same({ policy = "syn-flood", instance = "sensor1" }, b.commonLabels)
    local one, two = b.alerts[1], b.alerts[2]
    assert.same({ alertname = "victim", policy = "syn-flood", instance = "sensor1", key = "10.0.0.1" }, one.labels)
    assert.same({ summary = 'a "b" \1 \239\191\189' }, one.annotations)
    assert.same({ syn = 12.5, nan = cjson.null }, one.values)
    assert.same({ "2026-01-01T00:00:00.000250000Z", "0001-01-01T00:00:00Z" }, { one.startsAt, one.endsAt })
    assert.same({ "resolved", "2026-01-01T00:01:30.000000000Z" }, { two.status, two.endsAt })
    assert.same({ summary = "much", resolved = "little" }, two.annotations)
    assert.equal("resolved", body(RESOLVED).status)
  end)

  it("has a fingerprint for what it is about, not for its state", function()
    local function print_of(rule, key)
      return body({ state = "firing", rule = rule, key = key, reason = "", values = {}, start = 0 }).alerts[1].fingerprint
    end
    assert.equal(print_of("a", "1"), print_of("a", "1"))
    local seen = {}
    for i = 1, 5000 do
      local p = print_of("rule", "10.0." .. math.floor(i / 256) .. "." .. i % 256)
      assert.matches("^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$", p)
      assert.is_nil(seen[p])
      seen[p] = true
    end
  end)
end)

describe("warnings of receivers", function()
  it("say what this machine lacks", function()
    local function warned(body, program)
      local list = receivers.warnings({ declared(body) }, program or function(name) return name end)
      local out = {}
      for i, one in ipairs(list) do out[i] = ("%s:%d: %s (%s)"):format(one.file, one.line, one.message, one.hint) end
      return out
    end
    local function none(name) return nil, name .. ": No such file or directory" end
    assert.same({}, warned 'command = { "/bin/page", "a" }')
    assert.same({ 'p.lua:1: receiver "soc": the command ./page cannot be run: No such file or directory (is the path right?)' },
      warned('command = "./page"', none))
    assert.same({ 'p.lua:1: receiver "soc": webhooks are sent by curl, which is not installed (install curl)' },
      warned('webhook = "http://a/"', none))
    assert.same({ 'p.lua:1: receiver "soc": there is no PERILUNE_NO_SUCH in the environment (it is read anew for every message)' },
      warned 'webhook = "http://a/", headers = { A = { env = "PERILUNE_NO_SUCH" } }')
    assert.same({}, warned 'webhook = { env = "PATH" }')
  end)
end)
