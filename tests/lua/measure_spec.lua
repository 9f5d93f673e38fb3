-- SPDX-License-Identifier: Apache-2.0
local measure = require "perilune.policy.measure"
local resolve = require "perilune.policy.resolve"

local words = measure.vocabulary
local rate, share = words.rate, words.share

local function look(_, _, field)
  return field == "bytes" and "size" or "count"
end

local function plain(node) return resolve.measure(node, look) end

local function fails(expected, fn)
  local ok, problem = pcall(fn)
  assert.is_false(ok)
  assert.equal(expected, (tostring(problem):gsub("^ ", "")))
end

describe("measures", function()
  it("are data", function()
    assert.same({ kind = "rate", probe = "to", field = "syn", unit = "rate", text = "rate to.syn" }, plain(rate "to.syn"))
    assert.same({ kind = "count", probe = "to", unit = "count", text = "count to" }, plain(words.count "to"))
    local ratio = plain(share("to.syn", "to.packets"))
    assert.equal("share to.syn/to.packets", ratio.text)
    assert.equal("packets", ratio.right.field)
    assert.equal("byterate", plain(rate "to.bytes").unit)
    assert.equal("size", plain(words.mean "to.bytes").unit)
  end)

  it("may be of some rows only", function()
    assert.same({ kind = "rate", probe = "to", field = "syn", unit = "rate", where = "dport == 53",
      text = "rate to.syn where dport == 53" }, plain(rate("to.syn", "dport == 53")))
    assert.equal("count to where bytes > 5", plain(words.count("to", "bytes > 5")).text)
    local p99 = plain(words.quantile("to.bytes", "99%", "proto == 6"))
    assert.same({ "quantile", 0.99, "proto == 6", "quantile to.bytes 0.99 where proto == 6" }, { p99.kind, p99.q, p99.where, p99.text })
    fails('rate: which rows? expected a condition as text, got a number (like rate("to.bytes", "dport == 53"))',
      function() rate("to.syn", 5) end)
    fails('share takes two fields and no condition (divide: sum("to.bytes", "dport == 53") / sum "to.bytes")',
      function() share("to.syn", "to.syn", "dport == 53") end)
    fails('quantile: which one? nothing is no share of the rows (like quantile("to.bytes", 0.99))',
      function() words.quantile "to.bytes" end)
    fails('quantile: which one? a number is no share of the rows (like quantile("to.bytes", 0.99))',
      function() words.quantile("to.bytes", 99) end)
  end)

  it("calculate with measures, options, texts and numbers", function()
    local node = plain((rate "a.syn" - rate "a.ack") * 2)
    assert.equal("(rate a.syn - rate a.ack) * 2", node.text)
    assert.equal("rate", node.unit)
    assert.equal("ratio", plain(rate "a.syn" / rate "a.ack").unit)
    assert.equal("rate", plain(rate "a.syn" + "5/s").unit)
    assert.equal("rate", plain(words.sum "a.syn" / "10s").unit)
    assert.equal("rate", plain(-rate "a.syn").unit)
  end)

  it("keep the unit of an option", function()
    local surge = measure.number(2000, "rate", "surge")
    local quarter = surge / 4
    assert.equal(500, quarter.value)
    assert.equal("rate", quarter.unit)
    assert.equal(1200, (surge * "60%").value)
    assert.equal("ratio", (surge / surge).unit)
    assert.equal("count", (surge * "10s").unit)
    assert.equal("2,000/s", tostring(surge))
  end)

  it("refuse what does not go together", function()
    local surge = measure.number(2000, "rate", "surge")
    fails("2,000/s + 5: a rate and a count do not go together (give both the same unit, or scale with a bare number)",
      function() return surge + 5 end)
    fails('calculation with "/": the option "iface" is not a number (use an option with a number or a unit)',
      function() return measure.constant("vb", "iface") / 2 end)
    fails("rate a.syn + sum a.bytes: rate a.syn is a rate, sum a.bytes is a size; they do not go together (give both the same unit)",
      function() plain(rate "a.syn" + words.sum "a.bytes") end)
  end)

  it("can be given a name", function()
    local named = (rate "a.syn" - rate "a.syn_ack"):named "attempts"
    assert.equal("attempts", plain(named).text)
    assert.equal("attempts / 2", plain(named / 2).text)
  end)

  it("say how they are written", function()
    fails('rate takes the text "probe.field", got "sy-n" (like rate "totals.packets")', function() rate "sy-n" end)
    fails('count takes the name of a probe, got "to.syn" (like count "to": its rows)', function() words.count "to.syn" end)
    fails('a measure has no abov (did you mean "above"?)', function() rate("a.b"):abov "2/s" end)
    fails('over: expected a duration, got 5, which is a count (write it like "10s")', function() rate("a.b"):over(5) end)
    fails("the option \"surge\" is no measure, so nothing about it can change (like rate(\"to.packets\"):ewma \"1m\")",
      function() measure.number(1, "rate", "surge"):ewma "5s" end)
    fails("baseline has no key \"warm\" (known: by, warmup)", function() rate("a.b"):baseline("7d", { warm = "1d" }) end)
    fails('rate a.b above: "2k/sec" is not a number with a unit (like "10s", "2k/s", "64kB", "60%" or a bare count)',
      function() rate("a.b"):above "2k/sec" end)
    fails('rate a.b: above lacks a threshold (like :above "2k/s")', function() rate("a.b"):above() end)
    fails('the option "surge" is no measure, so nothing about it can change (compare a measure, like rate "to.packets")',
      function() measure.number(1, "rate", "surge"):above "1/s" end)
  end)
end)

describe("aggregates", function()
  it("are data for group()", function()
    assert.same({ kind = "sum", field = "bytes" }, words.sum "bytes")
    assert.same({ kind = "count" }, words.count())
    assert.same({ kind = "distinct", field = "dport" }, words.distinct "dport")
    assert.same({ kind = "quantile", field = "bytes", q = 0.99 }, words.quantile("bytes", 0.99))
    assert.equal("min", words.min("bytes").kind)
  end)

  it("are no measures", function()
    local lacking = 'rate takes the text "probe.field", got "syn" (like rate "totals.packets")'
    fails(lacking, function() rate("syn"):above "1/s" end)
    fails(lacking, function() return rate "syn" / 2 end)
    fails(lacking, function() return rate "a.syn" + rate "syn" end)
    fails(lacking, function() rate("a.syn"):above(rate "syn") end)
    fails("any: entry 1: " .. lacking, function() words.any { rate "syn" } end)
    fails('count takes the name of a probe, got nothing (like count "to": its rows)', function() words.count():above(5) end)
    fails('min takes the text "probe.field", got a number (like min "totals.packets")', function() words.min(5) end)
    fails('entropy takes the text "probe.field", got "syn" (like entropy "totals.packets")',
      function() words.entropy("syn"):above "5%" end)
  end)
end)

describe("conditions", function()
  local function resolved(node) return resolve.condition(node, look) end

  it("are data", function()
    local cond = resolved(words.all {
      rate("to.syn"):above("2k/s"):lasting "5s",
      words.any { share("to.syn", "to.packets"):above "60%", function() end },
    })
    assert.equal("all", cond.kind)
    assert.equal("lasting", cond[1].kind)
    assert.equal(5, cond[1].seconds)
    assert.same({ kind = "number", value = 2000, unit = "rate", text = "2,000/s" }, cond[1].cond.threshold)
    assert.equal(0.6, cond[2][1].threshold.value)
    assert.equal("function", cond[2][2].kind)
    assert.is_nil(getmetatable(cond))
    assert.is_nil(getmetatable(cond[1].cond.measure))
  end)

  it("compare like with like", function()
    fails('rate to.syn is a rate and cannot be compared with 2,000, which is a count (write it like "2k/s")',
      function() resolved(rate("to.syn"):above(2000)) end)
    fails('rate to.bytes is a rate of bytes and cannot be compared with 2,000/s, which is a rate (write it like "100Mbit/s")',
      function() resolved(rate("to.bytes"):above "2k/s") end)
    fails("count to is a count and cannot be compared with rate to.syn, which is a rate (compare like with like)",
      function() resolved(words.count("to"):above(rate "to.syn")) end)
    assert.equal("above", resolved((rate "a.x" / rate "a.y"):above(3)).kind)
    assert.equal("below", resolved((rate "a.x" / rate "a.y"):below "50%").kind)
    assert.equal("above", resolved(rate("a.x"):above(rate "a.y" * 3)).kind)
  end)

  it("say how they are written", function()
    fails('lasting: expected a duration, got 10, which is a count (write it like "10s")',
      function() rate("a.b"):above("1/s"):lasting(10) end)
    fails('lasting: expected a duration, got 5/s, which is a rate (write it like "10s")',
      function() rate("a.b"):above("1/s"):lasting(measure.number(5, "rate", "surge")) end)
    fails("all takes a list of conditions (write all { a, b })", function() words.all(rate("a.b"):above "1/s") end)
    fails('any: entry 1: rate a.b is a measure, not a condition (compare it, like :above "2k/s")',
      function() words.any { rate "a.b" } end)
    fails('a condition has no above (known: lasting)', function() rate("a.b"):above("1/s"):above "2/s" end)
  end)
end)
