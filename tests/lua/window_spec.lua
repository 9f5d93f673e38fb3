-- SPDX-License-Identifier: Apache-2.0
-- `w`, as a policy's functions see it.
local window = require "perilune.engine.window"

local templates = dofile("tests/lua/fake_templates.lua")
local COUNTER, FLOWS = templates:get "counter", templates:get "flows"

local function declared(name, manifest, key)
  return { name = name, template = manifest.name, manifest = manifest, key = key, features = { "tcp_flags" } }
end

local PROBES = { declared("totals", COUNTER), declared("to", FLOWS, { "dst", "dport" }), declared("from", FLOWS, { "src" }) }
local CLOSED = { seq = 7, mono = 12.5, seconds = 0.5, level = { name = "alert" }, cut = "clock", loss = { map_full = 3 }, skew = 0.002 }
local VIEWS = { to = { "records of to" } }

local function w(sample)
  sample = sample or {
    seconds = 0.5, observed = { totals = true, to = true, from = false },
    total = function(probe, field) return probe == "to" and field == "syn" and 40 or 10 end,
    rows = function() return 3 end,
    measure = function(_, column) return ({ max = 7, count = 2, distinct = 5, sum = 8, min = 0 / 0 })[column.kind] end,
  }
  local decider = { sets = function() return { victims = { { member = "10.0.0.1" }, { member = "10.0.0.2" } }, none = {} } end }
  return window.new(CLOSED, VIEWS, sample, { decider = decider, probes = PROBES })
end

local function fails(expected, fn)
  local ok, message = pcall(fn)
  assert.is_false(ok)
  assert.truthy(tostring(message):find(expected, 1, true), tostring(message))
  return message
end

describe("a window", function()
  it("has the closed window's figures", function()
    local one = w()
    assert.same({ 7, 12.5, 0.5, "alert", "clock", 3, 0.002 },
      { one.seq, one.start, one.seconds, one.level, one.cut, one.loss.map_full, one.skew })
    assert.equal(VIEWS.to, one.to)
    assert.same({ "10.0.0.1", "10.0.0.2" }, one.sets.victims)
    assert.same({}, one.sets.none)
  end)

  it("measures as conditions do", function()
    local one = w()
    assert.equal(40, one:sum "to.syn")
    assert.equal(80, one:rate "to.syn")
    assert.equal(20, one:rate "totals.packets")
    assert.equal(3, one:count "to")
    assert.equal(40 / 3, one:mean "to.syn")
    assert.equal(0.25, one:share("to.bytes", "to.syn"))
    assert.equal(7, one:max "to.bytes")
    assert.equal(5, one:distinct "to.dport")
    assert.equal(2, one:count("to", "dport == 53"))
    assert.equal(16, one:rate("to.syn", "dport == 53"))
    assert.equal(4, one:mean("to.syn", "dport == 53"))
  end)

  it("has nil for what is not known", function()
    assert.is_nil(w():min "to.bytes")
    assert.is_nil(w():share("to.syn", "from.syn"))
  end)

  it("knows the difference between nothing and not observed", function()
    local one = w()
    assert.is_nil(one:sum "from.syn")
    assert.is_nil(one:rate "from.syn")
    assert.is_nil(one:count "from")
  end)

  it("has no rate when it took no time", function()
    assert.equal(0, w({ seconds = 0, observed = { to = true }, total = function() return 5 end }):rate "to.syn")
  end)

  it("offers the nearest of what it has", function()
    local one = w()
    fails('a window has no secnods (did you mean "seconds"?)', function() return one.secnods end)
    fails("a window has no from", function() return one.from end)
    fails('"to" is not "probe.field"', function() return one:sum "to" end)
    fails('probe "to" has no field "syns"', function() return one:sum "to.syns" end)
    fails("totals has no rows, so there is no max of them", function() return one:max "totals.syn" end)
    fails("quantile: nothing is no share of the rows", function() return one:quantile "to.bytes" end)
    fails("count: expected a condition as text", function() return one:count("to", {}) end)
    fails('there is no probe too (did you mean "to"?)', function() return one:sum "too.syn" end)
    fails('there is no probe too (did you mean "to"?)', function() return one:rate "too.syn" end)
    fails('there is no probe too (did you mean "to"?)', function() return one:count "too" end)
    fails("there is no probe a (known: from, to, totals)", function() return one:rate "a.b.c" end)
  end)

  it("blames the line of the policy", function()
    local one = w()
    for _, measure in ipairs { "sum", "rate" } do
      fails("window_spec.lua:", function()
        local value = one[measure](one, "to")
        return value
      end)
    end
    fails("window_spec.lua:", function() return one.secnods end)
  end)

  it("cannot be changed", function()
    local one = w()
    fails("a window cannot be changed", function() one.seq = 8 end)
    fails("a window cannot be changed", function() one.new = 8 end)
    assert.is_false(getmetatable(one))
    one.sets.victims[1] = "forged" -- a copy
    assert.equal("10.0.0.1", one.sets.victims[1])
  end)
end)
