-- SPDX-License-Identifier: Apache-2.0
-- The live view: exact lines for a model and a size, and what the writer sends to the terminal.
local screen = require "perilune.show.screen"

local START = 1795467965000000 -- 2026-11-23T21:06:05Z
local PLAIN = { utf8 = true }

local function loss(of)
  local all = { map_full = 0, evicted = 0, ring_full = 0, not_parsed = 0, late = 0, limited = 0 }
  for name, number in pairs(of or {}) do
    all[name] = number
  end
  return all
end

-- A scripted run: `sink` is whatever takes events; each step moves the clock.
local function run(take)
  local r = { time = START, seq = 0, level = "calm" }
  function r.event(name, e)
    e.event, e.time, e.policy = name, r.time, "syn-flood"
    return take(e)
  end
  function r.start()
    r.event("start", { levels = { "calm", "alert", "siege" }, window = 1 })
    r.event("attach", { iface = "vb", hook = "tc.ingress", mode = "tcx" })
  end
  function r.window(seconds, packets, with)
    local start = r.time
    r.time, r.seq = r.time + seconds * 1e6, r.seq + 1
    local e = { seq = r.seq, level = r.level, start = start, finish = r.time, seconds = seconds,
      cut = "clock",
      packets = packets, skbs = packets, bytes = packets * 60, loss = loss() }
    for name, value in pairs(with or {}) do
      e[name] = value
    end
    return r.event("window", e)
  end
  function r.transition(to, reason)
    local from = r.level
    r.level = to
    r.event("transition", { seq = r.seq, from = from, to = to, held_by = {}, capped_by = {}, values = {},
      reason = reason })
  end
  function r.add(set, member, undo)
    r.event("action", { act = "add", set = set, member = member, undo = undo or false })
  end
  return r
end

local function model()
  local m = screen.model()
  return m, run(function(e)
    screen.apply(m, e)
  end)
end

local function row(src, packets, syn, ack)
  return { src = src, packets = packets, bytes = packets * 60, syn = syn or 0, ack = ack or 0 }
end

local function siege(m, r)
  r.start()
  r.window(1, 300)
  r.transition("alert", "surge: rate totals.syn 8,312/s above 2,000/s")
  r.window(0.1, 900, { top = { { probe = "to", key_fields = { "dst" }, rows = {} } } })
  r.transition("siege", "victim 10.0.0.1: rate to.syn 8,100/s above 1,000/s")
  r.add("victims", "10.0.0.1")
  for i = 1, 3 do
    r.add("attackers", "172.16.0." .. i)
  end
  for _ = 1, 20 do
    r.window(0.1, 1800, { top = {
      { probe = "to", key_fields = { "dst" }, rows = { { dst = "10.0.0.1", packets = 1800,
        bytes = 108000 } } },
      { probe = "from", key_fields = { "src" }, by = "syn", more = 4, rows = { row("172.16.0.5", 1600, 1600),
        row("10.0.0.7", 150, 10, 100), row("2001:db8::7", 40, 0, 40) } },
    } })
  end
  return m
end

describe("the view before the first window", function()
  it("says what it watches and that it waits", function()
    local m, r = model()
    r.start()
    assert.same({
      "── syn-flood  vb tc.ingress (tcx) ───────────── up 0 s, Ctrl-C ends",
      "level  [calm]› alert › siege                                for 0 s",
      "rate   waiting for the first window …",
      "trend",
      "loss   0",
    }, screen.render(m, 67, 24, PLAIN))
  end)
end)

describe("the view of a calm run", function()
  it("shows level, rates, trend and loss; both directions when there are two", function()
    local m, r = model()
    r.start()
    r.event("attach", { iface = "vb", hook = "tc.egress", mode = "tcx" })
    r.window(1, 100)
    r.window(1, 800, { skbs = 400, loss = loss { not_parsed = 3 },
      not_parsed_by = { not_ip = 3, truncated = 0, malformed = 0 },
      directions = { ingress = { packets = 700, skbs = 300, bytes = 42000 },
        egress = { packets = 100, skbs = 100, bytes = 6000 } } })
    assert.same({
      "── syn-flood  vb tc.ingress + tc.egress (tcx) ────────────── up 2 s, Ctrl-C ends",
      "level  [calm]› alert › siege                            for 2 s, window 2 of 1 s",
      "rate   800 packets/s  400 skbs/s  384 kbit/s",
      "  in   700 packets/s  300 skbs/s  336 kbit/s",
      "  out  100 packets/s  48.0 kbit/s",
      "trend  ▁█  peak 800 packets/s",
      "loss   0  not IP 3",
    }, screen.render(m, 80, 24, PLAIN))
  end)
end)

describe("the view of a siege", function()
  it("fits 80 by 24 with the talkers of the deepest probe", function()
    local m = siege(model())
    assert.same({
      "── syn-flood  vb tc.ingress (tcx) ────────────────────────── up 3 s, Ctrl-C ends",
      "level       calm › alert ›[siege]                   for 2 s, window 22 of 100 ms",
      "why        victim 10.0.0.1: rate to.syn 8,100/s above 1,000/s",
      "rate       18,000 packets/s  8.6 Mbit/s",
      "trend      ▁██  peak 18.0k packets/s",
      "loss       0",
      "attackers  3: 172.16.0.1 172.16.0.2 172.16.0.3",
      "victims    1: 10.0.0.1",
      "",
      "from         packets/s  share      bits/s  syn/s  ack/s",
      "172.16.0.5      16,000    89%  7.7 Mbit/s  16.0k      0",
      "10.0.0.7         1,500     8%  720 kbit/s    100   1.0k",
      "2001:db8::7        400     2%  192 kbit/s      0    400",
      "… 4 more; by syn",
    }, screen.render(m, 80, 24, PLAIN))
  end)

  it("says what does not fit a small terminal", function()
    local m = siege(model())
    assert.same({
      "── syn-flood  vb tc.ingress (tcx)",
      "level       calm › alert ›[siege]",
      "why        victim 10.0.0.1: rate to.syn…",
      "rate       18,000 packets/s  8.6 Mbit/s",
      "trend      ▁██  peak 18.0k packets/s",
      "loss       0",
      "attackers  3: 172.16.0.1 … 2 more",
      "victims    1: 10.0.0.1",
      "",
      "from         packets/s  share",
      "172.16.0.5      16,000    89%",
      "10.0.0.7         1,500     8%",
      "2001:db8::7        400     2%",
      "… 4 more; by syn; too narrow for bits/s…",
    }, screen.render(m, 40, 30, PLAIN))
    for height = 1, 30 do
      for width = 1, 100, 3 do
        local lines = screen.render(m, width, height, PLAIN)
        assert.is_true(#lines <= math.max(1, height - 1))
        for _, line in ipairs(lines) do
          assert.is_true(require("perilune.base.format").width(line) <= width)
        end
      end
    end
    local lines = screen.render(m, 80, 8, PLAIN)
    assert.equal(7, #lines)
    assert.equal("… 8 lines more on a taller terminal", lines[7])
  end)

  it("has more rows where there is more room, and counts those it leaves out", function()
    local m, r = model()
    r.start()
    local rows = {}
    for i = 1, 30 do
      rows[i] = row("10.0.0." .. i, 100 - i)
    end
    r.window(1, 5000, { top = { { probe = "from", key_fields = { "src" }, rows = rows } } })
    local lines = screen.render(m, 80, 40, PLAIN)
    assert.equal("10.0.0.1          99     2%  47.5 kbit/s", lines[8])
    assert.equal("… 19 more", lines[#lines])
    assert.equal(7 + 11 + 1, #lines)
  end)

  it("marks a rate as a lower bound when a window may have left the row out", function()
    local m, r = model()
    r.start()
    r.window(0.5, 100, { top = { { probe = "from", key_fields = { "src" }, more = 1, rows = { row("10.0.0.1",
      60) } } } })
    r.window(0.5, 100, { top = { { probe = "from", key_fields = { "src" }, more = 1, rows = { row("10.0.0.2",
      70) } } } })
    local lines = screen.render(m, 80, 24, PLAIN)
    assert.equal("10.0.0.2        ≥70    35%  33.6 kbit/s", lines[8])
    assert.equal("10.0.0.1        ≥60    30%  28.8 kbit/s", lines[9])
  end)

  it("lets the talkers go when nobody lists them any more", function()
    local m, r = model()
    siege(m, r)
    r.transition("calm", "victim 10.0.0.1 cleared")
    r.window(1, 10)
    local text = table.concat(screen.render(m, 80, 24, PLAIN), "\n")
    assert.falsy(text:find("172.16.0.5", 1, true))
    assert.truthy(text:find("level      [calm]› alert › siege", 1, true))
    assert.truthy(text:find("rate       10 packets/s", 1, true))
  end)

  it("shows the ladder and the sets of a policy that was loaded anew", function()
    local m, r = model()
    siege(m, r)
    assert.truthy(table.concat(screen.render(m, 80, 24, PLAIN), "\n"):find("attackers", 1, true))
    r.event("reload", { file = "p.lua", levels = { "calm", "deep" }, level = "calm", kept = {}, lost = { "level siege", "set attackers" } })
    local text = table.concat(screen.render(m, 80, 24, PLAIN), "\n")
    assert.truthy(text:find("[calm]› deep ", 1, true))
    assert.falsy(text:find("attackers", 1, true))
  end)
end)

describe("loss", function()
  it("is red, named and dated when there is any", function()
    local m, r = model()
    r.start()
    r.window(1, 100, { loss = loss { map_full = 12, late = 3 } })
    r.window(2, 100)
    local color = { utf8 = true, color = true }
    assert.equal("loss   15  map_full 12, late 3  last 2 s ago", screen.render(m, 80, 24, PLAIN)[5])
    assert.equal("\27[2mloss   \27[0m\27[1;31m15\27[0m\27[1;31m  map_full 12\27[0m\27[1;31m, late 3\27[0m"
      .. "\27[1;31m  last 2 s ago\27[0m", screen.render(m, 80, 24, color)[5])
  end)

  it("is dim when there is none", function()
    local m, r = model()
    r.start()
    r.window(1, 100)
    assert.equal("\27[2mloss   \27[0m\27[2m0\27[0m", screen.render(m, 80, 24, { utf8 = true,
      color = true })[5])
  end)
end)

describe("sets", function()
  it("follow the actions, each member once, and forget what is undone", function()
    local m, r = model()
    r.start()
    r.add("victims", "10.0.0.1")
    r.add("victims", "10.0.0.1")
    r.add("victims", "10.0.0.2")
    r.add("victims", "10.0.0.1", true)
    assert.same({ count = 1, members = { "10.0.0.2" } }, m.sets.victims)
    local many = {}
    for i = 1, 70 do
      many[i] = "10.0.0." .. i
    end
    r.window(1, 1, { sets = { victims = many } })
    r.add("victims", "10.0.1.3")
    assert.equal("victims  70: 10.0.0.1 10.0.0.2 … 68 more", screen.render(m, 45, 24, PLAIN)[6])
    r.window(1, 1, { sets = { victims = {} } })
    assert.equal("victims  0", screen.render(m, 45, 24, PLAIN)[6])
  end)
end)

-- A screen with its terminal: what is written, and the size it has.
local function terminal(env)
  local t = { written = {}, columns = 80, rows = 24, env = env or { TERM = "xterm", NO_COLOR = "1",
    LANG = "C.UTF-8" } }
  t.sink = screen.new {
    utc = true,
    out = function(text)
      t.written[#t.written + 1] = text
      return not t.closed and true or nil, "closed", "EPIPE"
    end,
    size = function()
      return t.columns, t.rows
    end,
    env = function(name)
      return t.env[name]
    end,
  }
  t.run = run(function(e)
    return t.sink:event(e)
  end)
  function t.take()
    local text = table.concat(t.written)
    t.written = {}
    return text
  end
  return t
end

describe("the writer", function()
  it("says progress at once, without a block", function()
    local t = terminal()
    t.sink:status "compiling 3 levels …"
    assert.equal("\r\27[Jcompiling 3 levels …\r\n", t.take())
  end)

  it("redraws the block in place and lets changes of level scroll above it", function()
    local t = terminal()
    t.run.start()
    t.take()
    t.run.window(1, 300)
    local text = t.take()
    assert.equal("\27[5A\r\27[J── syn-flood", text:sub(1, #"\27[5A\r\27[J── syn-flood"))
    local _, lines = text:gsub("\r\n", "")
    assert.equal(5, lines)
    t.run.transition("alert", "surge: much")
    text = t.take()
    assert.equal("\27[5A\r\27[J21:06:06.000  calm → alert  surge: much\r\n── syn-flood",
      text:match "^(.-syn%-flood)")
  end)

  it("redraws at most five times a second", function()
    local t = terminal()
    t.run.start()
    t.written = {}
    for _ = 1, 200 do
      t.run.window(0.01, 10)
    end
    local draws = 0
    for _, text in ipairs(t.written) do
      draws = draws + (text ~= "" and 1 or 0)
    end
    assert.is_true(draws >= 9 and draws <= 10)
    t.take()
    t.sink:tick(t.run.time + 1e6)
    assert.truthy(t.take():find("up 3 s", 1, true))
  end)

  it("counts what is too much to scroll by, but says every error", function()
    local t = terminal()
    t.run.start()
    for _ = 1, 50 do
      t.run.event("action", { act = "log", text = "again", undo = false })
    end
    t.run.event("error", { message = "broken" })
    t.take()
    t.run.time = t.run.time + 1e6
    t.run.event("error", { message = "broken" })
    local text = t.take()
    local _, lines = text:gsub("broken", "")
    assert.equal(2, lines)
    assert.truthy(text:find("… %d+ lines more, too many to show"))
  end)

  it("finds the top of its block when the terminal became narrower", function()
    local t = terminal()
    t.run.start()
    t.take()
    t.columns = 40
    t.run.window(1, 300)
    assert.equal("\27[7A", t.take():sub(1, 4)) -- two of the five lines were 80 wide
  end)

  it("ends with totals in place of the block", function()
    local t = terminal()
    t.run.start()
    t.run.window(1, 300)
    t.take()
    t.run.event("summary", { packets = 300, skbs = 300, bytes = 18000, windows = 1, transitions = 0,
      loss = loss(),
      seconds = 1, detached = { { iface = "vb", hook = "tc.ingress", mode = "tcx" } } })
    t.sink:close()
    assert.equal("\27[5A\r\27[J21:06:06.000  end  300 packets  18.0 kB in 1 s  1 window"
      .. "  0 transitions  loss 0\r\n"
      .. "  detached vb tc.ingress (tcx)\r\n", t.take())
  end)

  it("uses ASCII where the locale knows no more, and colours unless told not to", function()
    local t = terminal { TERM = "xterm", LANG = "C" }
    t.run.start()
    t.run.window(1, 300)
    t.run.transition("alert", "surge: é → ü")
    local text = t.take()
    assert.falsy(text:find("[\128-\255]"))
    assert.truthy(text:find("\27[1m21:06:06.000  calm -> alert  surge: ? -> ?\27[0m\r\n", 1, true))
    t = terminal { TERM = "xterm", LC_ALL = "en_US.utf8", LANG = "C", NO_COLOR = "1" }
    t.run.start()
    t.run.window(1, 300)
    text = t.take()
    assert.falsy(text:find("\27%[[%d;]*m"))
    assert.truthy(text:find("─", 1, true))
  end)

  it("is the plain text sink on a dumb terminal", function()
    for _, term in ipairs { "dumb", "" } do
      local t = terminal { TERM = term }
      t.run.start()
      assert.falsy(t.take():find("\27", 1, true))
    end
  end)

  it("tells when the terminal is gone", function()
    local t = terminal()
    t.closed = true
    assert.same({ "closed", "EPIPE" }, { select(2, t.sink:status "x") })
  end)
end)
