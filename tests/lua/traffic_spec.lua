-- SPDX-License-Identifier: Apache-2.0
-- Captures as one stream of frames: order, pace, shifts, what is left out and what is repeated.
local moment = require "perilune.base.moment"
local traffic = require "perilune.test.traffic"

-- A capture of frames at these µs (fractions are ns). Notes what it is told.
local function fake(times, failure)
  local capture = { at_frame = 0, closed = false, given = {}, addresses = {} }
  function capture:next()
    self.at_frame = self.at_frame + 1
    local time = times[self.at_frame]
    if time then
      local us = math.floor(time)
      return us, math.floor((time - us) * 1000 + 0.5), 60, 60
    end
    if failure then return nil, "cut short", "EBADMSG" end
    return nil
  end
  function capture:at(us, ns) self.given[#self.given + 1] = { us, ns } end
  function capture:readdress(which, address, n)
    self.addresses[#self.addresses + 1] = ("%s %s+%d"):format(which, address, n)
    return true
  end
  function capture:close() self.closed = true end
  return capture
end

local function entry(name, times, options)
  local one = { name = name, opened = {} }
  for key, value in pairs(options or {}) do one[key] = value end
  function one.open()
    one.opened[#one.opened + 1] = fake(times, one.failure)
    return one.opened[#one.opened]
  end
  return one
end

-- "name@µs" of every frame, with the ns where there are any; and how it ended.
local function frames(source)
  local out = {}
  while true do
    local us, message, code = source:next()
    if not us then return out, message, code end
    local given = source.capture.given
    local time = given[#given]
    assert.equal(us, time[1])
    out[#out + 1] = ("%s@%d%s"):format(source.part.entry.name, us, time[2] > 0 and "+" .. time[2] or "")
  end
end

describe("captures in a row", function()
  it("keep their times and the silence between them", function()
    assert.same({ "a@1000000", "a@1000005", "b@9000000" },
      frames(traffic.chain { entry("a", { 1000000, 1000005 }), entry("b", { 9000000 }) }))
  end)

  it("keep their times over decades, to the ns", function()
    local late = 1558968019069107
    assert.same({ "a@1000000+250", ("a@%d+250"):format(late), ("a@%d+750"):format(late + 1) },
      frames(traffic.chain { entry("a", { 1000000.25, late + 0.25, late + 1.75 }) }))
  end)

  it("are moved when they would begin before the one in front ends, and that is said", function()
    local notes = {}
    local source = traffic.chain({ entry("a", { 5000000, 6000000.25 }), entry("b", { 2000000, 2500000 }), entry("c", { 6500000.5 }) },
      function(note) notes[#notes + 1] = note end)
    assert.same({ "a@5000000", "a@6000000+250", "b@6000000+250", "b@6500000+250", "c@6500000+500" }, (frames(source)))
    assert.same({ "b begins 4 s before a ends: its times are shifted, so that it follows" }, notes)
  end)

  it("have one pace when asked to, whatever their times", function()
    local list = { entry("a", { 7, 9000000 }, { pps = 4 }), entry("b", { 1, 2, 3 }, { pps = 4 }) }
    assert.same({ "a@7", "a@250007", "b@500007", "b@750007", "b@1000007" }, (frames(traffic.chain(list))))
  end)

  it("that run back by a little are handed on as they are", function()
    assert.same({ "a@10", "a@8", "a@12" }, (frames(traffic.chain { entry("a", { 10, 8, 12 }) })))
  end)

  it("may be empty", function()
    assert.same({ "b@3" }, (frames(traffic.chain { entry("a", {}), entry("b", { 3 }), entry("c", {}) })))
    assert.same({}, (frames(traffic.chain { entry("a", {}) })))
  end)

  it("end at one that is cut short, with its reason", function()
    local out, message, code = frames(traffic.chain { entry("a", { 1 }, { failure = true }), entry("b", { 2 }) })
    assert.same({ { "a@1" }, "cut short", "EBADMSG" }, { out, message, code })
  end)

  it("are all opened at first, and closed when one cannot be", function()
    local a = entry("a", { 1 })
    local source, message, code = traffic.chain { a, { name = "b", open = function() return nil, "b: no such file", "ENOENT" end } }
    assert.same({ nil, "b: no such file", "ENOENT" }, { source, message, code })
    assert.is_true(a.opened[1].closed)
  end)
end)

describe("captures on one clock", function()
  it("come in the order of time, from their moments on", function()
    local list = { entry("a", { 1000000, 2000000, 3000000 }), entry("b", { 70, 500070 }, { at = 0.5 }) }
    local source = traffic.merge(list)
    assert.same({ "a@1000000", "b@1500000", "a@2000000", "b@2000000", "a@3000000" }, (frames(source)))
    assert.equal(1000000, source.start)
    source:close()
    for _, one in ipairs(list) do assert.is_true(one.opened[1].closed) end
  end)

  it("begin when they are told to", function()
    local source = traffic.merge({ entry("a", { 5, 6 }), entry("b", { 9 }, { at = 1e-6 }) }, 100)
    assert.same({ "a@100", "a@101", "b@101" }, (frames(source)))
  end)

  it("have a silence before the first, if that is asked for", function()
    local source = traffic.merge { entry("a", { 5000000 }, { at = 2 }) }
    assert.same({ "a@7000000" }, (frames(source)))
    assert.equal(5000000, source.start)
  end)

  it("are slower, faster, or even", function()
    assert.same({ "a@0", "a@20", "a@40+20" }, (frames(traffic.merge({ entry("a", { 1, 3, 5.002 }, { speed = 0.1 }) }, 0))))
    assert.same({ "a@0", "a@0+200", "a@0+400" }, (frames(traffic.merge({ entry("a", { 1, 3, 5 }, { speed = 10 }) }, 0))))
    assert.same({ "a@0", "a@500", "a@1000" }, (frames(traffic.merge({ entry("a", { 1, 3, 3 }, { pps = 2000 }) }, 0))))
  end)

  it("are cut at both ends", function()
    local times = { 0, 1000000, 2000000, 3000000, 4000000 }
    assert.same({ "a@0", "a@1000000" }, (frames(traffic.merge({ entry("a", times, { from = 1.5, lasting = 2 }) }, 0))))
    assert.same({ "a@0", "a@1000000", "a@2000000" }, (frames(traffic.merge({ entry("a", times, { count = 3 }) }, 0))))
  end)

  it("are repeated at their own pace, and at another", function()
    local own = entry("a", { 10, 20, 30 }, { loop = true, count = 7 })
    assert.same({ "a@0", "a@10", "a@20", "a@30", "a@40", "a@50", "a@60" }, (frames(traffic.merge({ own }, 0))))
    assert.equal(3, #own.opened)
    assert.is_true(own.opened[1].closed and own.opened[2].closed)
    local even = entry("a", { 10, 20 }, { loop = true, lasting = 5e-6, pps = 1e6 })
    assert.same({ "a@0", "a@1", "a@2", "a@3", "a@4" }, (frames(traffic.merge({ even }, 0))))
    local skipping = entry("a", { 10, 20, 30 }, { loop = true, count = 4, from = 1e-5 })
    assert.same({ "a@0", "a@10", "a@20", "a@30" }, (frames(traffic.merge({ skipping }, 0))))
  end)

  it("that take no time are not repeated", function()
    local out, message, code = frames(traffic.merge({ entry("a", { 10 }, { loop = true, count = 9 }) }, 0))
    assert.same({ { "a@0" }, "EINVAL" }, { out, code })
    assert.truthy(message:find("give pps", 1, true))
  end)

  it("without a frame are an error", function()
    local _, message, code = frames(traffic.merge { entry("a", { 1 }), entry("b", {}) })
    assert.same({ "b: holds no frame to replay", "EINVAL" }, { message, code })
  end)

  it("have other addresses, in turn", function()
    local one = entry("a", { 1, 2, 3 }, { src = { "198.18.0.0", 2 }, dst = { "10.0.0.1", 1 } })
    frames(traffic.merge { one })
    assert.same({ "src 198.18.0.0+0", "dst 10.0.0.1+0", "src 198.18.0.0+1", "dst 10.0.0.1+0", "src 198.18.0.0+0",
      "dst 10.0.0.1+0" }, one.opened[1].addresses)
  end)

  it("counts each one's frames", function()
    local source = traffic.merge({ entry("a", { 1, 3 }), entry("b", { 2 }) }, 0)
    frames(source)
    assert.same({ 2, 1 }, { source.parts[1].frames, source.parts[2].frames })
  end)
end)

describe("a time as text", function()
  it("is read back as it was written", function()
    local format = require "perilune.base.format"
    for _, us in ipairs { 0, 951868799999999, 1709251200000000, 4107542400000000, 1795467965123456 } do
      assert.same({ us, 0 }, { moment.parse(format.rfc3339(us)) })
    end
    for day = 0, 60000, 7 do
      local second = day * 86400 + day
      assert.equal(second * 1e6, (moment.parse(os.date("!%Y-%m-%dT%H:%M:%SZ", second))))
    end
  end)

  it("has fractions and zones", function()
    assert.same({ 1500000, 250 }, { moment.parse "1970-01-01T00:00:01.50000025Z" })
    assert.same({ 0, 0 }, { moment.parse "1970-01-01T01:30:00+01:30" })
    assert.same({ 3600e6, 0 }, { moment.parse "1970-01-01 00:00:00-01:00" })
  end)

  it("is nothing else", function()
    for _, text in ipairs { "", "now", "2026-03-29", "2026-03-29T00:55:00", "2026-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
      "2026-01-01T24:00:00Z", "1969-12-31T23:59:59Z", "2026-01-01T00:00:00+1:00", "2026-01-01T00:00:00.Z", "2100-02-29T00:00:00Z",
      "1970-01-01T00:00:00+01:00" } do
      assert.is_nil(moment.parse(text), text)
    end
  end)
end)
