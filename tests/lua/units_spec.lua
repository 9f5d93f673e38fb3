-- SPDX-License-Identifier: Apache-2.0
local units = require "perilune.base.units"
local words = require "perilune.base.words"

describe("units", function()
  it("reads what an operator writes", function()
    for text, expected in pairs {
      ["50ms"] = { 0.05, "duration" }, ["10s"] = { 10, "duration" }, ["5m"] = { 300, "duration" },
      ["2h"] = { 7200, "duration" }, ["7d"] = { 604800, "duration" }, ["1h30m"] = { 5400, "duration" },
      ["0.1s"] = { 0.1, "duration" }, ["20us"] = { 2e-5, "duration" }, ["5k/s"] = { 5000, "rate" },
      ["2.5k/s"] = { 2500, "rate" }, ["30/m"] = { 0.5, "rate" }, ["100/s"] = { 100, "rate" },
      ["100Mbit/s"] = { 12.5e6, "byterate" }, ["10kB/s"] = { 1e4, "byterate" }, ["64kB"] = { 64000, "size" },
      ["1MiB"] = { 1048576, "size" }, ["512B"] = { 512, "size" }, ["60%"] = { 0.6, "share" }, ["5k"] = { 5000, "count" },
      ["12"] = { 12, "count" }, ["5M"] = { 5e6, "count" }, ["64 kB"] = { 64000, "size" },
    } do
      local value, unit = units.parse(text)
      assert.equal(expected[1], value, text)
      assert.equal(expected[2], unit, text)
    end
    assert.equal(5, (units.parse(5)))
  end)

  it("refuses what it does not know", function()
    for _, text in ipairs { "", "s", "fast", "5x", "5k/week", "-5s", "1e3", "5 5", "5s5", "10 seconds", "%", "1.2.3" } do
      assert.is_nil((units.parse(text)), text)
    end
    assert.is_nil((units.parse(0 / 0)))
    assert.is_nil((units.parse({})))
    assert.is_nil((units.parse(nil)))
  end)

  it("says what was expected, with an example", function()
    local function complaint(given, want)
      local value, message, remedy = units.parse(given, want)
      assert.is_nil(value)
      return message .. " (" .. remedy .. ")"
    end
    assert.equal('expected a duration, got "5k/s", which is a rate (write it like "10s")', complaint("5k/s", "duration"))
    assert.equal('expected a rate, got 2000, which is a count (write it like "2k/s")', complaint(2000, "rate"))
    assert.equal('expected a share, got "often" (write it like "60%")', complaint("often", "share"))
    assert.equal('expected a count, got "5m", which is a duration (write it like 1000)', complaint("5m", "count"))
    assert.equal('expected a size, got a table (write it like "64kB")', complaint({}, "size"))
    assert.matches("is not a number with a unit", complaint("2k/sec"))
  end)

  it("takes a rate of bytes where a rate is asked for, not the other way round", function()
    assert.equal("byterate", select(2, units.parse("1MB/s", "rate")))
    assert.is_nil((units.parse("1k/s", "byterate")))
  end)

  it("prints for reasons and screens", function()
    for _, case in ipairs {
      { 8312.4, "rate", "8,312/s" }, { 2000, "rate", "2,000/s" }, { 1234567, "rate", "1,234,567/s" }, { 0, "rate", "0/s" },
      { 41.62, "rate", "41.6/s" }, { 0.5, "rate", "0.5/s" }, { -3, "rate", "-3/s" }, { 999.7, "rate", "1,000/s" },
      { 0.62, "share", "62 %" }, { 0.005, "share", "0.5 %" }, { 1, "share", "100 %" }, { 64000, "size", "64 kB" },
      { 999, "size", "999 B" }, { 12.5e6, "byterate", "12.5 MB/s" }, { 10, "duration", "10s" }, { 0.05, "duration", "50ms" },
      { 90, "duration", "1m30s" }, { 300, "duration", "5m" }, { 5400, "duration", "1h30m" }, { 86400, "duration", "1d" },
      { 0, "duration", "0s" }, { 65536, "count", "65,536" }, { 2.5, "ratio", "2.5" }, { 1 / 0, "ratio", "inf" },
      { 0 / 0, "ratio", "nan" },
    } do
      assert.equal(case[3], units.print(case[1], case[2]))
    end
  end)
end)

describe("words", function()
  it("measures how far apart two words are", function()
    assert.equal(0, words.distance("hold", "hold"))
    assert.equal(1, words.distance("hodl", "hold"))
    assert.equal(3, words.distance("kitten", "sitting"))
    assert.equal(4, words.distance("", "hold"))
  end)

  it("finds the word that was meant, or none", function()
    assert.equal("iface", words.nearest("ifcae", { "hook", "iface", "surge" }))
    assert.equal("syn_ack", words.nearest("synack", { "syn", "syn_ack", "ack" }))
    assert.equal("of", words.nearest("off", { "of", "max" }))
    assert.is_nil(words.nearest("zebra", { "hook", "iface" }))
    assert.equal('did you mean "hold"?', words.suggest("holt", { "hold", "when" }))
    assert.equal("known: a, b", words.suggest("something", { "a", "b" }))
    assert.equal("none here", words.suggest("x", {}, "none here"))
    assert.equal("a, b and 2 more", words.list({ "a", "b", "c", "d" }, 2))
  end)
end)
