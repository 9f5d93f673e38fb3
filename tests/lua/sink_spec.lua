-- SPDX-License-Identifier: Apache-2.0
-- Events as plain lines and as JSON lines, and what happens when nobody reads them.
local cjson = require "cjson"
local output = require "perilune.base.output"
local sink_json = require "perilune.show.sink_json"
local sink_text = require "perilune.show.sink_text"

local TIME = 1795467965123456 -- 2026-11-23T21:06:05.123456Z

local function loss(of)
  local all = { map_full = 0, evicted = 0, ring_full = 0, not_parsed = 0, late = 0, limited = 0 }
  for name, number in pairs(of or {}) do
    all[name] = number
  end
  return all
end

local function make(name, fields)
  fields.event, fields.time, fields.policy = name, TIME, "syn-flood"
  return fields
end

local function start()
  return make("start", { file = "flood.lua", levels = { "calm", "alert" }, window = 1 })
end

local function window(with)
  local e = make("window", { seq = 12, level = "alert", start = TIME - 100000, finish = TIME, seconds = 0.1,
    cut = "clock", packets = 931, skbs = 931, bytes = 55000, loss = loss() })
  for name, value in pairs(with or {}) do
    e[name] = value
  end
  return e
end

-- A sink with its output, one entry for each write.
local function text_sink(opts)
  local written = {}
  opts = opts or {}
  opts.utc = true
  opts.out = function(text)
    written[#written + 1] = text
    return true
  end
  return sink_text.new(opts), written
end

local function says(e, opts)
  local sink, written = text_sink(opts)
  sink:event(start())
  sink:event(e)
  assert.equal(2, #written)
  return written[2]
end

describe("the text sink", function()
  it("writes one plain line an event", function()
    assert.equal("21:06:05.123  window 12  alert  9,310 packets/s  4.4 Mbit/s  loss 0\n", says(window()))
    assert.equal("21:06:05.123  start syn-flood  flood.lua  levels calm alert  window 1 s\n", says(start()))
    local at = { iface = "vb", hook = "tc.ingress", mode = "tcx" }
    assert.equal("21:06:05.123  attach vb tc.ingress (tcx)\n", says(make("attach", at)))
    assert.equal("21:06:05.123  detach vb tc.ingress (tcx)\n", says(make("detach", at)))
    assert.equal("21:06:05.123  calm → alert  surge: rate totals.syn 8,312/s above 2,000/s\n",
      says(make("transition", { seq = 12, from = "calm", to = "alert", rule = "surge", held_by = { "surge" },
        capped_by = {}, values = {}, reason = "surge: rate totals.syn 8,312/s above 2,000/s" })))
    assert.equal("21:06:05.123  rule cleared  victim 10.0.0.1  victim: gone (not observed)\n",
      says(make("rule", { seq = 1, rule = "victim", key = "10.0.0.1", state = "cleared",
        reason = "victim: gone",
        values = {}, why = "not observed" })))
    local add = make("action", { act = "add", set = "victims", member = "10.0.0.1", rule = "victim",
      undo = false })
    assert.equal("21:06:05.123  add 10.0.0.1 to victims  (rule victim)\n", says(add))
    add.undo = true
    assert.equal("21:06:05.123  remove 10.0.0.1 from victims  (rule victim)\n", says(add))
    assert.equal("21:06:05.123  log help\n", says(make("action", { act = "log", text = "help",
      undo = false })))
    assert.equal("21:06:05.123  undo call\n", says(make("action", { act = "call", undo = true })))
    assert.equal("21:06:05.123  records from  siege  3 omitted  loss 2 (map_full 2)\n",
      says(make("records", { seq = 1, probe = "from", template = "flows", level = "siege", sample_rate = 1,
        rows_json = "[]", omitted = 3, loss = loss { map_full = 2 } })))
  end)

  it("says more of a window where there is more to say", function()
    assert.equal("21:06:05.123  window 12  alert  9,310 packets/s  8,000 skbs/s  4.4 Mbit/s  "
      .. "in 9,000 packets/s  4.3 Mbit/s  out 310 packets/s  80.0 kbit/s  "
      .. "loss 34 (map_full 12, not_parsed 22)  not IP 3  cut by level after 100 ms\n",
        says(window { skbs = 800, cut = "level",
      loss = loss { map_full = 12, not_parsed = 25 }, not_parsed_by = { not_ip = 3, truncated = 22,
        malformed = 0 },
      directions = { ingress = { packets = 900, skbs = 900, bytes = 54000 },
        egress = { packets = 31, skbs = 31, bytes = 1000 } } }))
    assert.equal("21:06:05.123  window 12  alert  931 packets  55.0 kB  loss 0\n",
      says(window { seconds = 0 }))
  end)

  it("lists who is behind it above the base level", function()
    local top = { { probe = "from", key_fields = { "src" }, more = 7, rows = {
      { src = "172.16.0.5", packets = 800, bytes = 48000, syn = 799, ack = 1 },
      { src = "evil\27[2J", packets = 31, bytes = 1860, syn = 0 },
      { src = "10.0.0.3", packets = 1, bytes = 60, syn = 0 } } } }
    assert.equal("21:06:05.123  window 12  alert  9,310 packets/s  4.4 Mbit/s  loss 0\n"
      .. "  from 172.16.0.5  800 packets  8,000/s  3.8 Mbit/s  syn 799  ack 1\n"
      .. "  from evil?[2J  31 packets  310/s  149 kbit/s\n"
      .. "  from … 8 more\n", says(window { top = top }, { top = 2 }))
    local calm = says(window { top = top, level = "calm" })
    assert.equal("21:06:05.123  window 12  calm  9,310 packets/s  4.4 Mbit/s  loss 0\n", calm)
    assert.truthy(says(window { top = top, level = "calm" }, { always_top = true }):find("172.16.0.5", 1,
      true))
  end)

  it("puts errors with a traceback on indented lines", function()
    assert.equal("21:06:05.123  error flood.lua:31: nil value\n    stack traceback:\n"
      .. "      flood.lua:31: in when (fix it)\n", says(make("error", { file = "flood.lua", line = 31,
        hint = "fix it",
        message = "nil value\nstack traceback:\n\tflood.lua:31: in when" })))
  end)

  it("ends with totals and what it detached, if that has not been said", function()
    local at = { iface = "vb", hook = "xdp", mode = "native" }
    local summary = make("summary", { packets = 93120, skbs = 93000, bytes = 61200000, windows = 102,
      transitions = 1,
      loss = loss(), seconds = 10, detached = { at } })
    local line = "21:06:05.123  end  93,120 packets  93,000 skbs  61.2 MB in 10 s"
      .. "  102 windows  1 transition  loss 0\n"
    assert.equal(line .. "  detached vb xdp (native)\n", says(summary))
    local sink, written = text_sink()
    sink:event(make("detach", at))
    sink:event(summary)
    assert.equal(line, written[2])
  end)

  it("passes progress on at once", function()
    local sink, written = text_sink()
    sink:status "compiling 3 levels …"
    assert.same({ "compiling 3 levels …\n" }, written)
  end)
end)

describe("the JSON sink", function()
  it("writes one flushed line an event and nothing else", function()
    local calls = {}
    local file = {
      write = function(_, text)
        calls[#calls + 1] = text
        return true
      end,
      flush = function()
        calls[#calls + 1] = "flush"
        return true
      end,
    }
    local sink = sink_json.new(file)
    sink:status "compiling"
    assert.is_true(sink:event(start()))
    assert.is_true(sink:close())
    assert.equal(2, #calls)
    assert.equal("flush", calls[2])
    assert.equal("\n", calls[1]:sub(-1))
    assert.equal("start", cjson.decode(calls[1]).event)
  end)

  it("says EPIPE when nobody reads, again and again, and writes no more", function()
    local calls = 0
    local sink = sink_json.new(function()
      calls = calls + 1
      return nil, "cannot write the output: Broken pipe", "EPIPE"
    end)
    for _ = 1, 2 do
      assert.same({ nil, "cannot write the output: Broken pipe", "EPIPE", n = 3 },
        { n = 3, sink:event(start()) })
    end
    assert.equal(1, calls)
  end)

  it("knows a closed Lua file by its number", function()
    local sink = sink_json.new { write = function() return nil, "Broken pipe", 32 end }
    assert.equal("EPIPE", (select(3, sink:event(start()))))
  end)

  it("knows a real closed pipe", function()
    local file = assert(io.popen("exec true", "w"))
    local sink, ok, code, _ = sink_json.new(file), true, nil, nil
    local ffi = require "ffi"
    ffi.cdef "void (*signal(int, void (*)(int)))(int);"
    local before = ffi.C.signal(13, ffi.cast("void (*)(int)", 1)) -- SIGPIPE, SIG_IGN
    while ok do -- until the child has gone; long enough for the loop to be compiled
      ok, _, code = sink:event(start())
    end
    ffi.C.signal(13, before)
    file:close()
    assert.equal("EPIPE", code)
  end)
end)

describe("an output", function()
  it("keeps what a slow reader did not take and sends it first", function()
    local got, stalled = {}, true
    local out = output.new(function(text)
      if stalled then
        got[#got + 1] = text:sub(1, 3)
        return nil, "stalled", "EAGAIN", 3
      end
      got[#got + 1] = text
      return true
    end)
    assert.is_true(out:write "abcdef\n")
    stalled = false
    assert.is_true(out:write "ghi\n")
    assert.is_true(out:write "")
    assert.same({ "abc", "def\nghi\n" }, got)
  end)

  it("has a ceiling for what it keeps", function()
    local out = output.new(function()
      return nil, "stalled", "EAGAIN", 0
    end)
    local megabyte = ("x"):rep(1024 * 1024)
    for _ = 1, 16 do
      assert.is_true(out:write(megabyte))
    end
    assert.same({ "the reader of the output does not read", "ENOBUFS" }, { select(2, out:write(megabyte)) })
  end)
end)
