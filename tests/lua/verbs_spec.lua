-- SPDX-License-Identifier: Apache-2.0
-- The verbs, on records and on plain lists, against naive ones over random rows.

local shape = require "perilune.records.shape"
local view = require "perilune.records.view"
local words = require("perilune.policy.measure").vocabulary
local fake = dofile("tests/lua/fake_batch.lua")

local random = math.random

local FIELDS = {
  { "src", "ipv4", key = true }, { "dport", "be_uint", 2, key = true }, { "proto", "protocol", key = true },
  { "packets", "uint", 8 }, { "drift", "int", 4 }, { "load", "float", 8 }, { "comm", "text", 8 },
  { "flag", "uint", 2, bit = 3, bits = 7 }, { "wide", "uint", 16 }, { "state", "enum", 1, names = { "OPEN", "SHUT" } },
  { "seen", "bool" },
}
local NAMES = { "a", "ab", "curl", "longest!" }

-- Rows with different keys, as records and as what they should read as.
local function random_rows(n)
  local stored, seen = {}, {}
  for i = 1, n do
    local row, key
    repeat
      row = { src = "10.0.0." .. random(1, 4), dport = random(1, 300), proto = random(2) == 1 and 6 or 17 }
      key = row.src .. " " .. row.dport .. " " .. row.proto
    until not seen[key]
    seen[key] = true
    row.packets, row.drift, row.load = random(0, 50), random(-20, 20), random(-1000, 1000) / 8
    row.comm, row.flag, row.wide, row.state, row.seen = NAMES[random(#NAMES)], random(0, 127), random(0, 9), random(1, 3),
      random(2) == 1
    stored[i] = row
  end
  local plain = {}
  for i, row in ipairs(stored) do
    plain[i] = {}
    for name, value in pairs(row) do plain[i][name] = value end
    plain[i].state = ({ "OPEN", "SHUT", 3 })[row.state]
  end
  return fake.new(FIELDS, stored), plain
end

local function pick(rows, field)
  local out = {}
  for i, row in ipairs(rows) do out[i] = row[field] end
  return out
end

local function filter(rows, fn)
  local out = {}
  for _, row in ipairs(rows) do
    if fn(row) then out[#out + 1] = row end
  end
  return out
end

local naive = {}

function naive.sum(rows, field)
  local total = 0
  for _, row in ipairs(rows) do total = total + row[field] end
  return total
end

function naive.min(rows, field) return #rows > 0 and math.min(unpack(pick(rows, field))) or nil end
function naive.max(rows, field) return #rows > 0 and math.max(unpack(pick(rows, field))) or nil end
function naive.mean(rows, field) return #rows > 0 and naive.sum(rows, field) / #rows or nil end
function naive.rate(rows, field) return naive.sum(rows, field) / 0.5 end
function naive.count(rows) return #rows end

function naive.distinct(rows, field)
  local seen, n = {}, 0
  for _, value in ipairs(pick(rows, field)) do
    if not seen[value] then seen[value], n = true, n + 1 end
  end
  return n
end

-- The smallest value that at least a share q of the rows does not exceed.
function naive.quantile(rows, field, q)
  local values = pick(rows, field)
  table.sort(values)
  for i, value in ipairs(values) do
    if i * 1000 >= q * 1000 * #values - 1e-6 then return value end
  end
end

local function sorted(rows, field, down)
  local out = { unpack(rows) }
  local place = {}
  for i, row in ipairs(rows) do place[row] = i end
  table.sort(out, function(a, b)
    if a[field] == b[field] then return place[a] < place[b] end
    if down then return a[field] > b[field] end
    return a[field] < b[field]
  end)
  return out
end

local function grouped(rows, by)
  local order, groups = {}, {}
  for _, row in ipairs(rows) do
    local parts = {}
    for i, name in ipairs(by) do parts[i] = tostring(row[name]) end
    local key = table.concat(parts, "|")
    if not groups[key] then
      groups[key] = {}
      order[#order + 1] = groups[key]
    end
    table.insert(groups[key], row)
  end
  return order
end

local NUMBERS = { "packets", "drift", "load", "dport", "flag", "wide", "proto" }
local SHARES = { 0, 0.01, 0.07, 0.25, 0.5, 0.75, 0.99, 1 }

local CONDITIONS = {
  { "packets > 25", function(r) return r.packets > 25 end },
  { "drift < 0 and load >= 1", function(r) return r.drift < 0 and r.load >= 1 end },
  { "comm == 'ab' or flag * 2 > 100", function(r) return r.comm == "ab" or r.flag * 2 > 100 end },
  { "not (wide == 3) and proto == 6", function(r) return r.wide ~= 3 and r.proto == 6 end },
  { "state == 'OPEN' or state == 3", function(r) return r.state == "OPEN" or r.state == 3 end },
  { "seen and src ~= '10.0.0.2'", function(r) return r.seen and r.src ~= "10.0.0.2" end },
  { { src = "10.0.0.1", seen = true, "packets % 2 == 0" },
    function(r) return r.src == "10.0.0.1" and r.seen and r.packets % 2 == 0 end },
  { { state = "SHUT" }, function(r) return r.state == "SHUT" end },
  { function(r) return r.packets == r.wide end, function(r) return r.packets == r.wide end },
}

-- rows: records or a list of plain rows; expected: plain rows.
local function check_aggregates(rows, expected)
  assert.equal(#expected, rows:count())
  for _, field in ipairs(NUMBERS) do
    for _, verb in ipairs { "sum", "min", "max", "mean", "rate", "distinct" } do
      assert.equal(naive[verb](expected, field), rows[verb](rows, field), verb .. " " .. field)
    end
    assert.same(pick(expected, field), rows:column(field))
    for _, q in ipairs(SHARES) do
      assert.equal(naive.quantile(expected, field, q), rows:quantile(field, q), field .. " " .. q)
    end
  end
  for _, field in ipairs { "src", "comm", "state" } do assert.equal(naive.distinct(expected, field), rows:distinct(field)) end
end

local function check_order(rows, expected)
  local field = NUMBERS[random(#NUMBERS)]
  local n = random(0, #expected + 2)
  assert.same(pick(sorted(expected, field), "packets"), rows:sort(field):column "packets")
  assert.same(pick(sorted(expected, field, true), "packets"), rows:sort(field, "descending"):column "packets")
  assert.same({ unpack(pick(sorted(expected, field, true), "packets"), 1, math.min(n, #expected)) },
    rows:top(n, field):column "packets")
end

local BY = { { "src" }, { "proto" }, { "comm" }, { "flag" }, { "state" }, { "src", "comm" }, { "comm", "state", "flag" } }

local function check_groups(rows, expected)
  for _, by in ipairs(BY) do
    local groups = rows:group(#by == 1 and by[1] or by, {
      bytes = words.sum "packets", n = words.count(), least = "min drift", most = words.max "load", mid = "mean drift",
      ports = words.distinct "dport", names = "distinct comm", p = words.quantile("packets", 0.5), persecond = words.rate "wide",
      p99 = "quantile load 99%", level = words.distinct "state",
    })
    local wanted = grouped(expected, by)
    assert.equal(#wanted, groups:count())
    for i, members in ipairs(wanted) do
      local row = {
        bytes = naive.sum(members, "packets"), n = #members, least = naive.min(members, "drift"),
        most = naive.max(members, "load"), mid = naive.mean(members, "drift"), ports = naive.distinct(members, "dport"),
        names = naive.distinct(members, "comm"), p = naive.quantile(members, "packets", 0.5),
        persecond = naive.rate(members, "wide"), p99 = naive.quantile(members, "load", 0.99),
        level = naive.distinct(members, "state"),
      }
      for _, name in ipairs(by) do row[name] = members[1][name] end
      assert.same(row, groups[i])
    end
  end
end

local function on_all(check)
  for _ = 1, 12 do
    local batch, plain = random_rows(({ 0, 1, 2, 3, 90, 200, 400 })[random(7)])
    local v = view.new(batch, { window = 1, seconds = 0.5 })
    check(v, plain)
    check(v:copy(), plain)
    local function odd(row) return row.packets % 2 == 1 end
    check(v:where "packets % 2 == 1", filter(plain, odd))
    check(v:copy():where(odd), filter(plain, odd))
  end
end

describe("verbs on records and on lists", function()
  it("aggregate as naive ones do", function() on_all(check_aggregates) end)

  it("order", function() on_all(check_order) end)

  it("group", function() on_all(check_groups) end)

  it("choose", function()
    on_all(function(rows, expected)
      for _, case in ipairs(CONDITIONS) do
        assert.same(pick(filter(expected, case[2]), "packets"), rows:where(case[1]):column "packets")
      end
    end)
  end)

  it("visit", function()
    on_all(function(rows, expected)
      local seen = {}
      rows:each(function(row, i) seen[i] = row.packets end)
      assert.same(pick(expected, "packets"), seen)
    end)
  end)
end)

describe("aggregates", function()
  local v
  before_each(function() v = view.new((random_rows(50)), { window = 1 }) end)

  local function fails(expected, fn, ...)
    local ok, message = pcall(fn, ...)
    assert.is_false(ok)
    assert.truthy(tostring(message):find(expected, 1, true), tostring(message))
    return message
  end

  it("are explained where they are wrong", function()
    for _, rows in ipairs { v, v:copy() } do
      fails('"x" is no aggregate', function() rows:group("src", { x = "total packets" }) end)
      fails('"x" is no aggregate', function() rows:group("src", { x = 5 }) end)
      fails('did you mean "packets"?', function() rows:group("src", { x = words.sum "packet" }) end)
      fails('there is no field "to.packets"', function() rows:group("src", { x = words.sum "to.packets" }) end)
      fails('is a sum of which field?', function() rows:group("src", { x = "sum" }) end)
      fails('"src" is grouped by', function() rows:group("src", { src = "count" }) end)
      fails("give each aggregate a name", function() rows:group("src", { "sum packets" }) end)
      fails("expected { name", function() rows:group("src", "sum packets") end)
      fails("by which field", function() rows:group({}, {}) end)
      fails("quantile: nothing is no share", function() rows:group("src", { x = words.quantile "packets" }) end)
      fails("quantile: 1.5 is no share", function() local _ = rows:quantile("packets", 1.5) end)
      fails("quantile: 99 is no share", function() local _ = rows:quantile("packets", 99) end)
      fails('"comm" is not a number', function() local _ = rows:quantile("comm", 0.5) end)
      fails('did you mean "packets"?', function() local _ = rows:distinct "packet" end)
      fails("rate: how long these records took is not known", function() local _ = rows:rate "packets" end)
      local message = fails("", function() local _ = rows:sum "packet" end)
      assert.truthy(message:find("verbs_spec.lua", 1, true), message)
    end
  end)

  it("take a share as a number or in per cent", function()
    assert.equal(v:quantile("packets", 0.9), v:quantile("packets", "90%"))
    assert.equal(v:max "packets", v:quantile("packets", 1))
    assert.equal(v:min "packets", v:quantile("packets", 0))
  end)

  it("have no rate in a window that took no time", function()
    assert.equal(0, view.new((random_rows(5)), { seconds = 0 }):rate "packets")
  end)

  it("never give a sum that is not exact", function()
    local big = view.new(fake.new({ { "n", "uint", 1 }, { "s", "int", 8 } },
      { { n = 1, s = 2 ^ 53 }, { n = 1, s = 1 }, { n = 1, s = -2 ^ 53 } }))
    for _, rows in ipairs { big, big:copy() } do
      fails('the sum of "s" reaches 2^53', rows.sum, rows, "s")
      fails('the sum of "s" reaches 2^53', rows.mean, rows, "s")
      fails('the sum of "s" reaches 2^53', rows.group, rows, "n", { x = "sum s" })
    end
    fails("beyond 2^53", shape.groups, big, "n", { "s" })
  end)

  it("come with words for policies and for tables", function()
    assert.same({ kind = "quantile", field = "a", q = 0.5 }, shape.quantile("a", 0.5))
    assert.equal(50, v:group("proto", { x = shape.max "packets", n = shape.count() }):sum "n")
  end)
end)

describe("quantiles", function()
  it("are of nearest rank, whatever the order, with many equal and with sorted values", function()
    local shapes = {
      function(i) return i end, function(i, n) return n - i end, function() return 7 end, function(i) return i % 3 end,
      function() return random(0, 1e9) end, function(i) return i % 2 == 0 and i or 0 end,
    }
    for _, value in ipairs(shapes) do
      for _, n in ipairs { 1, 2, 3, 10, 100, 1000 } do
        local v = view.new(fake.new({ { "x", "uint", 8 } }, n, function(i, put) put("x", value(i, n)) end))
        local values = v:column "x"
        table.sort(values)
        for _, q in ipairs(SHARES) do
          local rank = math.max(1, math.ceil(q * 100 * n / 100 - 1e-9))
          assert.equal(values[rank], v:quantile("x", q))
        end
      end
    end
  end)
end)
