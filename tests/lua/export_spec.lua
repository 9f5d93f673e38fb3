-- SPDX-License-Identifier: Apache-2.0
-- Lines that wait for who takes them, and the word export of the daemon's configuration.
local configuration = require "perilune.serve.configuration"
local queue = require "perilune.serve.export_queue"

describe("a queue of lines", function()
  -- A place that takes so many bytes, then says this.
  local function place(room, code)
    local got = { text = "" }
    function got.send(text)
      if #text <= room then
        room, got.text = room - #text, got.text .. text
        return true
      end
      local taken = code == "EAGAIN" and text:sub(1, room) or ""
      room, got.text = room - #taken, got.text .. taken
      return nil, "no", code, #taken
    end
    function got.more(bytes, what) room, code = room + bytes, what or code end
    return got
  end

  it("sends in order, and goes on in the middle of a line", function()
    local q, to = queue.new(100), place(5, "EAGAIN")
    for _, line in ipairs { "abc\n", "def\n", "ghi\n" } do assert.is_true(q:put(line)) end
    assert.is_false(q:flush(to.send))
    assert.same({ "abc\nd", 2 }, { to.text, q:waiting() })
    to.more(100)
    assert.is_true(q:flush(to.send))
    assert.same({ "abc\ndef\nghi\n", 0, 0, 3, 0 }, { to.text, q:waiting(), q.bytes, q.sent, q.lost })
  end)

  it("loses what does not fit, and counts it", function()
    local q = queue.new(10)
    for i = 1, 5 do assert.equal(i <= 2, q:put "abcd\n") end
    assert.same({ 2, 3 }, { q:waiting(), q.lost })
    assert.is_true(q:flush(place(100).send))
    assert.is_true(q:put(("x"):rep(1000))) -- one that is longer than all may be, when nothing else waits
    q:give_up()
    assert.same({ 0, 4, 2 }, { q:waiting(), q.lost, q.sent })
  end)

  it("begins a line anew with the next connection", function()
    local q, first = queue.new(100), place(2, "EAGAIN")
    q:put "abc\n"
    assert.is_false(q:flush(first.send))
    first.more(0, "EPIPE")
    local done, _, code = q:flush(first.send)
    assert.same({ nil, "EPIPE" }, { done, code })
    local second = place(100)
    assert.is_true(q:flush(second.send))
    assert.same({ "abc\n", 0 }, { second.text, q.lost })
  end)

  it("loses the message that is too long for ever, and no other", function()
    local q = queue.new(1000)
    q:put(("x"):rep(500))
    q:put "abc"
    local got = {}
    assert.is_true(q:flush(function(text)
      if #text > 100 then return nil, "too long", "EMSGSIZE" end
      got[#got + 1] = text
      return true
    end))
    assert.same({ { "abc" }, 1, 1 }, { got, q.lost, q.sent })
  end)
end)

describe("exports of a configuration", function()
  local function load(exports)
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write("return daemon { exports = { " .. exports .. " } }")
    file:close()
    local config, message = configuration.load { file = path }
    os.remove(path)
    return config, message
  end

  it("say where, what and how much", function()
    local config = assert(load [[export "a" { file = "w.jsonl", size = "1MB", keep = 2 }, export "b" { stdout = true, events = "error" },
      export "c" { unix = "/run/c", policies = { "edge" }, queue = "64kB" }, export "d" { syslog = true, facility = "local1" }]])
    local a, b, c, d = unpack(config.exports)
    assert.matches("/w.jsonl$", a.path)
    assert.same({ 1e6, 2, { window = true, records = true } }, { a.size, a.keep, a.events })
    assert.same({ "stdout", nil, { error = true } }, { b.place, b.path, b.events })
    assert.same({ "/run/c", { edge = true }, 64000 }, { c.path, c.policies, c.queue })
    assert.same({ "/dev/log", "local1" }, { d.path, d.facility })
  end)

  it("are checked", function()
    for text, message in pairs {
      ['export "a" {}'] = "where to?", ['export "a" { file = "x", stdout = true }'] = "either file or stdout",
      ['export "a" { unix = "/x", keep = 3 }'] = "keep is for file",
      ['export "a" { file = "x", events = { "windows" } }'] = 'windows is no event (did you mean "window"?)',
      ['export "a" { file = "x" }, export "a" { file = "y" }'] = 'two exports are called "a"',
      ['export "a" { file = "x" }, export "b" { file = "x" }'] = 'export "b" writes where "a" does',
      ['export "a" { file = "x", queue = "1kB" }'] = "too small", ['export "a" { syslog = 3 }'] = "true or the path",
      ['export "a" { fil = "x" }'] = 'no key "fil"',
    } do
      local config, why = load(text)
      assert.is_nil(config, text)
      assert.matches(message, why, nil, true)
    end
  end)
end)
