-- SPDX-License-Identifier: Apache-2.0
-- What conditions remember, against sums over all windows with the weights that the definitions give.
local baseline = require "perilune.engine.baseline"
local histogram = require "perilune.records.histogram"
local quantile = require "perilune.records.quantile"
local sliding = require "perilune.engine.sliding"
local sliding_parts = require "perilune.engine.sliding_parts"
local smooth = require "perilune.engine.smooth"

local random = 7
local function number(most)
  random = (random * 1103515245 + 12345) % 2147483648
  return math.floor(random / 65536) % most
end

local function close(expected, actual, what)
  local off = math.abs(expected - actual)
  assert.is_true(off <= 1e-9 * math.max(1, math.abs(expected)), ("%s: expected %.12g, got %.12g"):format(what or "", expected, actual))
end

-- Windows one after the other: { start, finish, seconds, amount }, of lengths between `least` and `most` ms.
local function windows(n, least, most)
  local list, at = {}, 1000
  for i = 1, n do
    local seconds = (least + number(most - least + 1)) / 1000
    list[i] = { start = at, finish = at + seconds, seconds = seconds, amount = number(1000) }
    at = at + seconds
  end
  return list
end

-- The weight that a window has at `now`: the integral of exp(-age / constant) over it.
local function weight(w, now, constant)
  return math.exp(-(now - w.finish) / constant) - math.exp(-(now - w.start) / constant)
end

-- Mean and standard deviation with these weights, in two passes.
local function weighted(list, upto, constant, figure)
  local total, mean, square, now = 0, 0, 0, list[upto].finish
  for i = 1, upto do total, mean = total + weight(list[i], now, constant), mean + weight(list[i], now, constant) * figure(list[i]) end
  mean = mean / total
  for i = 1, upto do square = square + weight(list[i], now, constant) * (figure(list[i]) - mean) ^ 2 end
  return mean, math.sqrt(square / total)
end

local function rate_of(w) return w.amount / w.seconds end

describe("over", function()
  it("adds up the windows of the span, those that were cut short too", function()
    local s, list = sliding.new("sum", 10), windows(400, 180, 1500)
    for i, w in ipairs(list) do
      s:open(w.start, w.finish, w.seconds)
      s:add("", w.amount)
      local sum, seconds = 0, 0
      for j = 1, i do
        if list[j].start >= w.finish - 10 - 1e-6 then sum, seconds = sum + list[j].amount, seconds + list[j].seconds end
      end
      assert.equal(sum, s:value "")
      close(seconds, s.seconds)
    end
  end)

  it("remembers no more slots than it has, however short windows are", function()
    local s, at = sliding.new("sum", 60), 0
    for _ = 1, 20000 do
      s:open(at, at + 0.01, 0.01)
      s:add("", 1)
      at = at + 0.01
      assert.is_true(#s.slots <= 62)
    end
    close(100, s:value "" / s.seconds)
    assert.is_true(s.seconds > 58 and s.seconds <= 60.02, s.seconds)
    assert.is_true(s:moving())
    for i = 0, 61 do s:open(at + i, at + i + 1, 1) end
    assert.is_false(s:moving())
    assert.equal(0, s:value "")
  end)

  it("has the least and the greatest of all, and counts every value once", function()
    local least, most, union, list = sliding.new("min", 5), sliding.new("max", 5), sliding.new("union", 5), windows(200, 300, 1200)
    for i, w in ipairs(list) do
      w.values = {}
      for v = 1, number(6) do w.values[v] = number(20) end
      for _, s in ipairs { least, most, union } do s:open(w.start, w.finish, w.seconds) end
      least:add("k", w.amount)
      most:add("k", w.amount)
      for _, v in ipairs(w.values) do union:see("k", v) end
      local low, high, seen, n = math.huge, -math.huge, {}, 0
      for j = 1, i do
        if list[j].start >= w.finish - 5 - 1e-6 then
          low, high = math.min(low, list[j].amount), math.max(high, list[j].amount)
          for _, v in ipairs(list[j].values) do
            if not seen[v] then seen[v], n = true, n + 1 end
          end
        end
      end
      assert.same({ low, high, n }, { least:value "k", most:value "k", union:value "k" })
    end
  end)

  it("is bounded, and counts what had no room", function()
    local s = sliding.new("sum", 10)
    s:open(0, 1, 1)
    for i = 1, 10050 do s:add("k" .. i, i) end
    assert.equal(50, s.overflow)
    assert.equal(10000, s:value "k10000")
    local none = s:value "k10001"
    assert.is_true(none ~= none)
    s:open(20, 21, 1)
    s:add("k10001", 5)
    assert.equal(5, s:value "k10001")
  end)
end)

describe("over, of what windows are made of", function()
  -- All that windows from `from` on have of a key, added up.
  local function all_of(list, upto, from, key)
    local sums = {}
    for j = 1, upto do
      for _, one in ipairs(list[j].start >= from and list[j].seen or {}) do
        if one.key == key then sums[one.part] = (sums[one.part] or 0) + one.weight end
      end
    end
    return sums
  end

  it("adds up the weights of each part, and leaves nothing behind", function()
    local s, list, keys = sliding_parts.new(6), windows(300, 500, 1300), { "a", "b" }
    for i, w in ipairs(list) do
      w.seen = {}
      s:open(w.start, w.finish, w.seconds)
      for n = 1, number(8) do
        w.seen[n] = { key = keys[1 + number(2)], part = number(5), weight = number(1000) }
        s:see(w.seen[n].key, w.seen[n].part, w.seen[n].weight)
      end
      for _, key in ipairs(keys) do
        local expected = all_of(list, i, w.finish - 6 - 1e-6, key)
        for part, sum in pairs(expected) do expected[part] = sum > 0 and sum or nil end
        assert.same(expected, s:of(key))
      end
    end
    local at = list[#list].finish
    for n = 0, 7 do s:open(at + n, at + n + 1, 1) end
    assert.same({ {}, false, 0 }, { s:of "a", s:moving(), s.parts })
  end)

  it("remembers a dozen slots, however short windows are", function()
    local s = sliding_parts.new(60)
    for i = 1, 7000 do
      s:open(i * 0.01, i * 0.01 + 0.01, 0.01)
      s:see("", "x", 1)
      assert.is_true(#s.slots <= 14)
    end
    assert.is_true(s:of("").x >= 5500 and s:of("").x <= 6001, s:of("").x)
  end)

  it("is bounded, and does not know what lacked room until that is over", function()
    local s = sliding_parts.new(10)
    s:open(0, 1, 1)
    s:see("early", 0, 1)
    for i = 1, 2 ^ 18 + 9 do s:see("crowd", i, 1) end
    s:see("late", 1, 1)
    assert.equal(11, s.overflow)
    assert.same({ { [0] = 1 }, nil, nil }, { s:of "early", s:of "crowd", s:of "late" })
    s:open(5, 6, 1)
    assert.is_nil(s:of "late")
    s:open(20, 21, 1)
    s:see("late", 1, 4)
    assert.same({ { 4 }, {} }, { s:of "late", s:of "crowd" })
    s = sliding_parts.new(10)
    s:open(0, 1, 1)
    for i = 1, 10050 do s:see("k" .. i, 1, 1) end
    assert.equal(50, s.overflow)
    assert.same({ { 1 }, nil }, { s:of "k10000", s:of "k10001" })
  end)

  it("gives quantiles by rank, and of a histogram within its class", function()
    for _ = 1, 200 do
      local weights, values = {}, {}
      for _ = 1, 1 + number(30) do
        local value, times = number(40) - 20, 1 + number(9)
        weights[value] = (weights[value] or 0) + times
        for _ = 1, times do values[#values + 1] = value end
      end
      table.sort(values)
      for _, q in ipairs { 0, 0.1, 0.5, 0.9, 0.99, 1 } do
        assert.equal(values[quantile.rank(q, #values)], quantile.weighted(weights, q))
      end
    end
    local none = quantile.weighted({}, 0.5)
    assert.is_true(none ~= none)
    for _, counts in ipairs { { 3, 0, 5, 2 }, { 0, 0, 0, 7 }, { 4, 0, 0, 0 }, { 0, 1, 1, 0 } } do
      local weights = {}
      for k, count in ipairs(counts) do weights[k < 4 and k or -4] = count > 0 and count or nil end
      for _, q in ipairs { 0, 0.3, 0.5, 0.8, 1 } do
        assert.equal(histogram.quantile(counts, 4, 64, q), histogram.of_weights(weights, 64, q))
      end
    end
  end)
end)

describe("ewma", function()
  it("is the mean by weights of age, whatever the lengths of windows", function()
    local s, list = smooth.new(3, true), windows(300, 1, 2000)
    for i, w in ipairs(list) do
      s:open(w.seconds, w.finish)
      s:add("", w.amount)
      close((weighted(list, i, 3, rate_of)), s:value "", "rate")
    end
    local levels = smooth.new(3, false)
    for i, w in ipairs(list) do
      levels:open(w.seconds, w.finish)
      levels:add("", w.amount)
      close((weighted(list, i, 3, function(one) return one.amount end)), levels:value "", "level")
    end
  end)

  it("does not depend on how a stretch is cut", function()
    local whole, parts = smooth.new(7, true), smooth.new(7, true)
    local at = 0
    for _ = 1, 50 do
      local amount = 1 + number(900)
      whole:open(1, at + 1)
      whole:add("", amount)
      for _, part in ipairs { 0.5, 0, 0.001, 0.499 } do
        parts:open(part, at + part)
        parts:add("", amount * part)
      end
      at = at + 1
    end
    close(whole:value "", parts:value "")
  end)

  it("counts what came in a window without length", function()
    local s = smooth.new(10, true)
    s:open(1, 1)
    s:add("", 0)
    s:open(0, 1)
    s:add("", 50)
    close(50 / 10 / (1 - math.exp(-0.1)), s:value "")
  end)

  it("takes a key for silent before it came, and forgets it when it has been silent for long", function()
    local s = smooth.new(2, true)
    for i = 1, 10 do s:open(1, i) end
    s:open(1, 11)
    s:add("k", 100)
    close(100 * (1 - math.exp(-0.5)) / (1 - math.exp(-5.5)), s:value "k")
    for i = 12, 60 do
      s:open(1, i)
      s:add("k", 0)
    end
    assert.is_false(s:moving())
    assert.equal(0, s:value "k")
  end)
end)

describe("a baseline", function()
  it("learns mean and spread by weights of age", function()
    local b, list = baseline.new(100, 20), windows(500, 200, 1800)
    local learnt = 0
    for i, w in ipairs(list) do
      b:open(w.finish)
      b:learn("", rate_of(w), w.seconds, true)
      local mean, spread = b:value("", w.finish)
      if mean == mean then
        local expected, deviation = weighted(list, i, 100, rate_of)
        close(expected, mean, "mean")
        assert.is_true(math.abs(deviation - spread) < 1e-6 * deviation, "spread")
        learnt = learnt + 1
      else
        assert.is_true(w.finish - list[1].start < 20 or i < 10)
      end
    end
    assert.is_true(learnt > 450)
  end)

  it("learns each hour of the day apart", function()
    local b = baseline.new(7 * 86400, nil, true)
    for minute = 0, 14 * 1440 - 1 do -- by night 10, by day 1000
      local wall = minute * 60
      local night = math.floor(wall / 3600) % 24 < 6
      b:open(wall)
      b:learn("", night and 10 or 1000, 60, true)
    end
    local at = 20 * 86400
    close(10, (b:value("", at + 3 * 3600)))
    close(1000, (b:value("", at + 12 * 3600)))
  end)

  it("is the same after one long silence as after many short ones", function()
    local many, one = baseline.new(1000, 10), baseline.new(1000, 10)
    for _, b in ipairs { many, one } do
      for i = 1, 50 do
        b:open(i)
        b:learn("", i % 7, 1, true)
      end
    end
    for i = 51, 350 do
      many:open(i)
      many:learn("", 0, 1, false)
    end
    one:skip(0, 300, 50)
    local a, x = many:value("", 350)
    local c, y = one:value("", 350)
    close(a, c)
    close(x, y)
  end)

  it("comes back from what it exports", function()
    local b, again = baseline.new(100, 5), baseline.new(100, 5)
    for i = 1, 40 do
      b:open(i)
      b:learn("a\0b", i % 5, 1, true)
    end
    assert.equal(1, again:import(b:export(), 5000))
    assert.same({ b:value("a\0b", 40) }, { again:value("a\0b", 40) })
    assert.equal(1, again:import({ x = "no", y = { { 1, 2 } }, z = { [99] = { 1, 2, 3, 4, 5 } } }, 1))
  end)

  it("gives the room of keys that are not learnt to new ones", function()
    local b = baseline.new(1000, 10)
    for i = 1, 20 do
      b:open(i)
      b:learn("steady", 5, 1, true)
    end
    b:open(21)
    for i = 1, 10000 do b:learn("k" .. i, 1, 1, true) end
    assert.equal(1, b.overflow)
    b:open(22)
    b:learn("new", 1, 1, true)
    assert.truthy(b:known().new)
    close(5, (b:value("steady", 22)))
  end)
end)
