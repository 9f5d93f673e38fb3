-- SPDX-License-Identifier: Apache-2.0
-- The parts of the daemon's client that know no socket: replies, event streams, where the daemon is, what is shown.
local event = require "perilune.event"
local event_read = require "perilune.event.read"
local place = require "perilune.client.place"
local reply = require "perilune.client.reply"
local sse = require "perilune.client.sse"
local status_text = require "perilune.client.status_text"

-- A reply that comes in these pieces: { status, headers, body, done } | nil, message.
local function read(pieces, closed)
  local out = { body = "" }
  local r = reply.new {
    head = function(status, headers) out.status, out.headers = status, headers end,
    body = function(bytes) out.body = out.body .. bytes end,
    done = function() out.done = true end,
  }
  for _, piece in ipairs(pieces) do
    local ok, message = r:feed(piece)
    if not ok then return nil, message end
  end
  if closed then
    local ok, message = r:ended()
    if not ok then return nil, message end
  end
  return out
end

local function bytes_of(text)
  local list = {}
  for i = 1, #text do list[i] = text:sub(i, i) end
  return list
end

local CHUNKED = "HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n"
  .. "5\r\nhello\r\nA;x=y\r\n, world\r\n!\r\n0\r\nTrailer: x\r\n\r\n"

describe("a reply", function()
  it("is the same however its bytes come in", function()
    for _, text in ipairs {
      "HTTP/1.1 200 OK\r\nContent-Length: 16\r\nX-Y:  z \r\n\r\nhello, world\r\n!\n", CHUNKED,
    } do
      local whole, apart = read { text }, read(bytes_of(text))
      assert.same(whole, apart)
      assert.is_true(whole.done)
      assert.equal(200, whole.status)
      assert.equal("hello, world", whole.body:sub(1, 12))
    end
    assert.equal("z", read({ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Y:  z \r\n\r\n" }).headers["x-y"])
  end)

  it("without a length goes on until the connection ends, and 204 has no body", function()
    local out = read({ "HTTP/1.0 200 OK\r\n\r\nabc" }, true)
    assert.same({ "abc", true }, { out.body, out.done })
    assert.is_true(read({ "HTTP/1.1 204 No Content\r\n\r\n" }).done)
  end)

  it("that is not well-formed, or not whole, is refused", function()
    local function refused(text, what, closed)
      local out, message = read({ text }, closed)
      assert.is_nil(out)
      assert.truthy(message:find(what, 1, true), message)
    end
    refused("SSH-2.0-x\r\n\r\n", "no HTTP")
    refused("HTTP/1.1 2000 OK\r\n\r\n", "no HTTP")
    refused("HTTP/1.1 100 Continue\r\n\r\n", "no HTTP")
    refused("HTTP/1.1 200 OK\r\nno header\r\n\r\n", "a header")
    refused("HTTP/1.1 200 OK\r\nA: b\nc\r\n\r\n", "a header")
    refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "two lengths")
    refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "two lengths")
    refused("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "no number")
    refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "a coding")
    refused("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", "after the end")
    refused("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", "in the middle", true)
    refused(CHUNKED:sub(1, -3), "in the middle", true)
    refused((CHUNKED:gsub("5\r\n", "4\r\n")), "longer than it says")
    refused((CHUNKED:gsub("5\r\n", "x\r\n")), "without a length")
    refused(("x"):rep(70000), "without an end")
    refused(CHUNKED:gsub("5\r\n.*", "") .. ("0"):rep(300), "without an end")
  end)
end)

describe("an event stream", function()
  local TEXT = ": listening\n\nevent: window\ndata: {\"a\":1}\n\n:\n\ndata: one\r\ndata: two\r\n\r\nevent: x\n\n"

  it("is the same however its bytes come in; comments and events without data are dropped", function()
    for _, pieces in ipairs { { TEXT }, bytes_of(TEXT) } do
      local got = {}
      local take = sse.new(function(name, data) got[#got + 1] = { name, data } end)
      for _, piece in ipairs(pieces) do assert.is_true(take(piece)) end
      assert.same({ { "window", '{"a":1}' }, { "message", "one\ntwo" } }, got)
    end
  end)

  it("has a longest event", function()
    local take = sse.new(function() end)
    local piece, ok = ("x"):rep(1024 * 1024), true
    for _ = 1, 100 do ok = ok and take(piece) end
    assert.is_nil(ok)
  end)
end)

local function resolve(parsed, env, files)
  return place.resolve(parsed, {
    env = function(name) return (env or {})[name] end,
    read = function(path)
      local text = (files or {})[path]
      if text then return text end
      return nil, path .. ": no such file"
    end,
    socket = function() return "/run/x.sock" end,
    is_loopback = function(host) return host:find "^127%." ~= nil or host == "::1" end,
  })
end

describe("the daemon's place", function()
  it("is said by options, then the environment, then the default", function()
    assert.same({ path = "/run/x.sock", shown = "/run/x.sock" }, resolve {})
    assert.equal("/a", resolve({ socket = "/a" }, { PERILUNE_SERVER = "unix:/b" }).path)
    assert.equal("/b", resolve({}, { PERILUNE_SERVER = "unix:/b" }).path)
    local v6 = resolve { server = "http://[::1]:9000" }
    assert.same({ "::1", 9000, "http://[::1]:9000" }, { v6.host, v6.port, v6.shown })
    assert.equal("127.0.0.1", resolve({ server = "http://localhost:9000/" }).host)
  end)

  it("is shown a token from a file or the environment, and never to another machine in the clear", function()
    assert.equal("plt_ab", resolve({ ["token-file"] = "t" }, {}, { t = "plt_ab\n" }).token)
    assert.equal("plt_cd", resolve({ server = "http://127.0.0.1:1" }, { PERILUNE_TOKEN = "plt_cd" }).token)
    local out, message = resolve({ server = "http://192.0.2.1:1" }, { PERILUNE_TOKEN = "plt_cd" })
    assert.is_nil(out)
    assert.truthy(message:find("without TLS", 1, true))
    assert.is_nil((resolve({}, { PERILUNE_TOKEN = "a\r\nX: y" })))
    assert.is_nil((resolve { ["token-file"] = "none" }))
  end)

  it("speaks TLS by what files say, to whom a token may be sent", function()
    local files = { ca = "CA", c = "C", k = "K" }
    local there = assert(resolve({ server = "https://web-3.example:9443", ca = "ca", certificate = "c", key = "k" },
      { PERILUNE_TOKEN = "plt_cd" }, files))
    assert.same({ name = "web-3.example", authorities = "CA", certificate = "C", key = "K" }, there.tls)
    assert.same({ "web-3.example", 9443, "plt_cd" }, { there.host, there.port, there.token })
    assert.is_nil((resolve({ server = "https://a:1", certificate = "c" }, {}, files)))
    assert.is_nil((resolve({ server = "https://a:1", ca = "none" }, {}, files)))
    assert.is_nil((resolve({ server = "http://127.0.0.1:1", ca = "ca" }, {}, files)))
  end)

  it("that is no address is refused", function()
    for _, url in ipairs { "127.0.0.1:9000", "http://127.0.0.1", "http://x y:1", "http://127.0.0.1:70000",
      "https://127.0.0.1", "ftp://127.0.0.1:1", "unix:" } do
      local out, message = resolve { server = url }
      assert.is_nil(out, url)
      assert.truthy(message:find(url, 1, true), message)
    end
    assert.is_nil((resolve { server = "unix:/a", socket = "/b" }))
  end)
end)

describe("an event's line", function()
  it("becomes the event that it was made of", function()
    local loss = { map_full = 1, evicted = 0, ring_full = 0, not_parsed = 2, late = 0, limited = 0 }
    for _, e in ipairs {
      { event = "window", seq = 7, level = "calm", start = 1.5e15, finish = 1.5e15 + 1000001, seconds = 1.000001,
        cut = "clock", packets = 5, skbs = 4, bytes = 3, loss = loss, directions = { ingress = { packets = 5,
        skbs = 4, bytes = 3 } } },
      { event = "transition", seq = 1, from = "a", to = "b", held_by = {}, capped_by = { "x" }, values = { y = 0.5 },
        reason = "r", after = { windows = 1, seconds = 2, packets = 3 } },
      { event = "error", message = "m", line = 3, file = "f" },
    } do
      e.v, e.time, e.policy = 1, 1.5e15 + 2, "p"
      local back = assert(event_read.decode(event.encode(e)))
      assert.same(e, back)
    end
  end)

  it("that is none is refused", function()
    for _, text in ipairs { "", "1", "{}", '{"event":"x","time":"2026-01-01T00:00:00Z"}', '{"event":"window"}' } do
      assert.is_nil((event_read.decode(text)))
    end
  end)
end)

describe("what is shown of policies", function()
  local NOW = 1.5e15 -- 2017-07-14T02:40:00Z

  it("is a table, with why one has failed below it", function()
    local lines = status_text.policies({
      { name = "a", state = "running", level = "calm", restarts = 1, started = "2017-07-14T02:38:55Z",
        attachments = { { iface = "eth0", hook = "xdp" }, { iface = "eth1", hook = "xdp" },
          { iface = "eth2", hook = "xdp" } },
        window = { seconds = 0.5, packets = 500, bytes = 1000, loss = { map_full = 3 } } },
      { name = "b", state = "failed", restarts = 0, failure = "b.lua:1: \27[2Jwrong\nline two" },
    }, NOW, 120)
    assert.equal("policy  state    level   since  packets/s      traffic  loss  restarts  attached", lines[1])
    assert.equal("a       running  calm   1m 05s      1,000  16.0 kbit/s     3         1  "
      .. "eth0 xdp, eth1 xdp, and 1 more", lines[2])
    assert.truthy(lines[3]:find("^b       failed"))
    assert.same({ "b: b.lua:1: ?[2Jwrong", "b: line two" }, { lines[4], lines[5] })
  end)

  it("says what there is to do when there are none", function()
    assert.truthy(status_text.policies({}, NOW)[1]:find "perilune serve")
  end)

  it("lists monitors, also one that is attached nowhere", function()
    assert.same({}, status_text.monitors {})
    assert.same({ "monitors  m1  eth0  TC (perilune extract m1)", "          m2  attached nowhere  XDP_SKB (perilune extract m2)" },
      status_text.monitors { { name = "m1", type = "TC", parent = "eth0" }, { name = "m2", type = "XDP_SKB" } })
  end)

  it("shows who holds a level, and how long still", function()
    assert.same({ "levels    calm  [siege]", "held      somebody (perilune level) holds siege for 59 s more",
      "          night caps at calm" }, status_text.ladder {
      level = "siege", levels = { { name = "calm" }, { name = "siege" } },
      claims = { { who = "operator", hold = "siege", seconds_left = 58.2 }, { who = "night", cap = "calm" } } })
  end)
end)
