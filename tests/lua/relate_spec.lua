-- SPDX-License-Identifier: Apache-2.0
-- join and delta, of records, of lists and of both.

local view = require "perilune.records.view"
require "perilune.records.shape"
local fake = dofile("tests/lua/fake_batch.lua")

local random = math.random

local FLOWS = {
  { "src", "ipv4", key = true }, { "dport", "be_uint", 2, key = true }, { "packets", "uint", 8 }, { "bytes", "uint", 4 },
  { "drift", "int", 8 }, { "load", "float", 8 }, { "proto", "protocol" }, { "first", "time" },
}
local HOSTS = { { "addr", "ipv4", key = true }, { "packets", "uint", 8 }, { "name", "text", 8 } }

local function fails(expected, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(tostring(message):find(expected, 1, true), tostring(message))
  return message
end

-- `n` flows with different keys.
local function random_flows(n)
  local rows, seen = {}, {}
  for i = 1, n do
    local src, dport
    repeat src, dport = "10.0.0." .. random(1, 9), random(1, 40) until not seen[src .. ":" .. dport]
    seen[src .. ":" .. dport] = true
    rows[i] = {
      src = src, dport = dport, packets = random(0, 9), bytes = random(0, 9), drift = random(-9, 9), load = random(-9, 9) / 4,
      proto = 6,
    }
  end
  return rows
end

local function flows(rows) return view.new(fake.new(FLOWS, rows), { window = 1, seconds = 2 }) end

local function list(rows)
  local out = {}
  for i, row in ipairs(rows) do out[i] = row end
  return out
end

-- Each way to give the two sides: as views, as choices of a view, as lists.
local function ways(fn)
  for _, left in ipairs { "view", "choice", "list" } do
    for _, right in ipairs { "view", "choice", "list" } do
      fn(function(v) return left == "list" and v:copy() or left == "choice" and v:where "true" or v end,
        function(v) return right == "list" and v:copy() or right == "choice" and v:where "true" or v end, left .. " " .. right)
    end
  end
end

describe("join", function()
  it("gives a row for each pair with equal keys, in order", function()
    for _ = 1, 8 do
      local rows, others = random_flows(random(0, 120)), {}
      for i = 1, random(0, 12) do others[i] = { addr = "10.0.0." .. random(1, 12), packets = i, name = "h" .. i } end
      local expected = {}
      for _, row in ipairs(rows) do
        for _, other in ipairs(others) do
          if row.src == other.addr then
            expected[#expected + 1] = { row.src, row.dport, row.packets, other.packets, other.name }
          end
        end
      end
      ways(function(left, right, way)
        local joined = left(flows(rows)):join(right(view.new(fake.new(HOSTS, others))), { src = "addr" })
        local found = {}
        for i, row in ipairs(joined) do
          found[i] = { row.src, row.dport, row.packets, row.other_packets, row.name }
          assert.is_nil(row.addr)
        end
        assert.same(expected, found, way)
      end)
    end
  end)

  it("takes the fields that are named, under the names that are given", function()
    local rows = { { src = "1.1.1.1", dport = 5, packets = 7 } }
    ways(function(left, right)
      local a, b = left(flows(rows)), right(flows(rows))
      assert.same({ "bytes", "dport", "drift", "first", "load", "more", "other_bytes", "packets", "proto", "src" },
        require("perilune.base.words").keys(a:join(b, { "src", "dport" }, { "bytes", more = "packets" })[1]))
      local row = a:join(b, { "src", "dport" }, "packets")[1]
      assert.same({ 7, 7 }, { row.packets, row.other_packets })
      fails('two fields would be called "src"', a.join, a, b, "dport", { src = "src" })
      fails('did you mean "bytes"', a.join, a, b, "dport", { "byte" })
      fails('did you mean "dport"', a.join, a, b, "port")
      fails("join: by which field?", a.join, a, b, {})
      fails("join: by which field?", a.join, a, b)
      fails("expected the names of key fields", a.join, a, b, { 5 })
    end)
    local v = flows(rows)
    fails("join: with which records?", v.join, v, nil, "src")
    fails("join: expected records, got a number", v.join, v, 5, "src")
  end)

  it("refuses keys that are not stored alike", function()
    local v = flows(random_flows(3))
    local other = view.new(fake.new({ { "src", "address" }, { "dport", "uint", 2 } }, {}))
    fails('"src" and "src" are not stored alike (an address and an address, 4 and 16 bytes)', v.join, v, other, "src")
    fails('"dport" and "dport" are not stored alike', v.join, v, other, "dport")
  end)

  it("keeps text keys apart, wherever they end", function()
    local specs = { { "a", "text", 4 }, { "b", "text", 4 } }
    local v = view.new(fake.new(specs, { { a = "ab", b = "c" }, { a = "a", b = "bc" } }))
    ways(function(left, right) assert.equal(2, left(v):join(right(v), { "a", "b" }):count()) end)
  end)

  it("has a limit", function()
    local v = view.new(fake.new({ { "k", "uint", 1 } }, 1001, function() end))
    fails("join: more than 1000000 pairs", v.join, v, v, "k")
  end)

  it("is an error with records of a closed window", function()
    local a, b = flows(random_flows(2)), flows(random_flows(2))
    b:close()
    fails("which is closed", a.join, a, b, "src")
    fails("which is closed", a.delta, a, b)
  end)
end)

describe("delta", function()
  it("is what counters have grown by, matched by key", function()
    for _ = 1, 8 do
      local before, now, expected = random_flows(random(0, 150)), random_flows(random(0, 150)), {}
      local known = {}
      for _, row in ipairs(before) do known[row.src .. row.dport] = row end
      for i, row in ipairs(now) do
        local old = known[row.src .. row.dport] or { packets = 0, bytes = 0, drift = 0, load = 0 }
        local function grown(name) return row[name] >= old[name] and row[name] - old[name] or row[name] end
        expected[i] = {
          src = row.src, dport = row.dport, packets = grown "packets", bytes = grown "bytes", drift = row.drift - old.drift,
          load = row.load - old.load, reset = row.packets < old.packets or row.bytes < old.bytes,
        }
      end
      ways(function(left, right, way)
        local grown = left(flows(now)):delta(right(flows(before)))
        assert.same(expected, list(grown), way)
        local some = left(flows(now)):delta(right(flows(before)), "drift")
        for i, row in ipairs(some) do
          assert.same({ src = expected[i].src, dport = expected[i].dport, drift = expected[i].drift, reset = false }, row)
        end
        assert.same(list(some), list(left(flows(now)):delta(right(flows(before)), { "drift" })))
      end)
    end
  end)

  it("gives rows with the verbs, their key and their window's length", function()
    local grown = flows({ { src = "1.1.1.1", dport = 1, packets = 9 } }):delta(flows({ { src = "1.1.1.1", dport = 1, packets = 4 } }))
    assert.equal(5, grown:sum "packets")
    assert.equal(2.5, grown:rate "packets")
    assert.equal(0, grown:where({ reset = true }):count())
    assert.equal(5, grown:delta({}, "packets")[1].packets)
  end)

  it("is exact beyond 2^53, if the difference is", function()
    local specs = { { "k", "uint", 1, key = true }, { "n", "uint", 8 }, { "net", "be_uint", 8 } }
    local now = view.new(fake.new(specs, { { k = 1, n = 9007199254740995ULL, net = 18446744073709551615ULL } }))
    local before = view.new(fake.new(specs, { { k = 1, n = 9007199254740993ULL, net = 18446744073709551608ULL } }))
    assert.same({ k = 1, n = 2, net = 7, reset = false }, now:delta(before)[1])
    fails('"n" is beyond 2^53', now.delta, now, before:where "k > 1", "n")
    fails('"n" is beyond 2^53', now.copy, now)
    local signed = { { "k", "uint", 1, key = true }, { "s", "int", 8 } }
    local high = view.new(fake.new(signed, { { k = 1, s = 2 ^ 53 } }))
    local low = view.new(fake.new(signed, { { k = 1, s = -1 } }))
    ways(function(left, right) fails("2^53", function() return left(high):delta(right(low)) end) end)
  end)

  it("works on groups", function()
    local now = flows({ { src = "1.1.1.1", dport = 1, packets = 9 }, { src = "1.1.1.1", dport = 2, packets = 1 } }):group("src",
      { packets = "sum packets" })
    local before = flows({ { src = "1.1.1.1", dport = 1, packets = 4 } }):group("src", { packets = "sum packets" })
    assert.same({ { src = "1.1.1.1", packets = 6, reset = false } }, list(now:delta(before)))
    assert.same({ { src = "1.1.1.1", packets = 10, reset = false } }, list(now:delta({})))
  end)

  it("says what it lacks", function()
    local v = flows(random_flows(3))
    local keyless = view.new(fake.new({ { "n", "uint", 4 } }, { { n = 1 } }))
    fails("these records have no key to match by", keyless.delta, keyless, keyless)
    local rows = keyless:copy()
    fails("which fields are the key?", rows.delta, rows, rows)
    fails('did you mean "packets"', v.delta, v, v, "packet")
    fails('"src" is not a number but an address', v.delta, v, v, "src")
    fails("expected the name of a field, got a number", v.delta, v, v, 5)
    fails("delta: with which records?", v.delta, v)
    local twice = { { src = "1.1.1.1", dport = 1, packets = 1 }, { src = "1.1.1.1", dport = 1, packets = 2 } }
    ways(function(left, right)
      fails("two earlier rows have the same key", function() return left(v):delta(right(flows(twice)), "packets") end)
    end)
    local named = view.new(fake.new({ { "k", "uint", 1, key = true }, { "reset", "uint", 4 } }, { { k = 1 } }))
    ways(function(left, right)
      fails('"reset" is what marks', function() return left(named):delta(right(named)) end)
    end)
  end)

  it("matches records of another layout by value", function()
    local v = flows({ { src = "1.1.1.1", dport = 1, packets = 9 } })
    local wider = view.new(fake.new({
      { "dport", "uint", 4, key = true }, { "src", "ipv4", key = true }, { "packets", "uint", 4 },
    }, { { src = "1.1.1.1", dport = 1, packets = 4 } }))
    assert.equal(5, v:delta(wider, "packets")[1].packets)
  end)
end)
