-- SPDX-License-Identifier: Apache-2.0

local view = require "perilune.records.view"
local fake = dofile("tests/lua/fake_batch.lua")

local FLOWS = {
  { "src", "address", key = true }, { "dport", "be_uint", 2, key = true }, { "proto", "uint", 1, key = true },
  { "packets", "uint", 8 }, { "bytes", "uint", 8 }, { "drift", "int", 8 }, { "first", "time" }, { "seen", "bool" },
  { "state", "enum", 4, names = { [1] = "OPEN", [2] = "SHUT" } }, { "comm", "text", 6 }, { "mac", "bytes", 6 },
  { "sizes", "uint", 4, dims = { 3 } }, { "net", "be_uint", 4 }, { "big", "be_uint", 8 },
}

local function flows()
  return fake.new(FLOWS, {
    {
      src = "10.0.0.1", dport = 53, proto = 17, packets = 7, bytes = 9007199254740992ULL, drift = -5, first = 1500000000ULL,
      seen = true, state = 1, comm = "curl", mac = "02:00:5e:10:00:01", sizes = { 1, 2, 4000000000 }, net = 0x0a000001,
      big = 4294967296ULL,
    },
    {
      src = "10.0.0.2", dport = 65535, proto = 6, packets = 3, bytes = 9007199254740993ULL, drift = -9007199254740993LL,
      state = 9, comm = "abcdef", mac = "ff:ff:ff:ff:ff:ff", net = 0xffffffff,
    },
  })
end

local function fails(expected, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(tostring(message):find(expected, 1, true), tostring(message))
end

describe("a view of records", function()
  local v
  before_each(function() v = view.new(flows(), { window = 12 }) end)

  it("reads every kind of field", function()
    local row = v[1]
    assert.equal("10.0.0.1", row.src)
    assert.equal(53, row.dport)
    assert.equal(17, row.proto)
    assert.equal(7, row.packets)
    assert.equal(2 ^ 53, row.bytes)
    assert.equal(-5, row.drift)
    assert.equal(1.5, row.first)
    assert.is_true(row.seen)
    assert.is_false(v[2].seen)
    assert.equal("OPEN", row.state)
    assert.equal(9, v[2].state)
    assert.equal("curl", row.comm)
    assert.equal("abcdef", v[2].comm)
    assert.equal("02:00:5e:10:00:01", row.mac)
    assert.same({ 1, 2, 4000000000 }, row.sizes)
    assert.equal(0x0a000001, row.net)
    assert.equal(0xffffffff, v[2].net)
    assert.equal(65535, v[2].dport)
    assert.equal(2 ^ 32, row.big)
  end)

  it("refuses numbers that would not be exact, and names the field", function()
    fails('"bytes" is beyond 2^53', function() return v[2].bytes end)
    fails('"drift" is beyond 2^53', function() return v[2].drift end)
    local _, message = pcall(function() return v[2].bytes end)
    assert.truthy(message:find("view_spec.lua", 1, true), message)
  end)

  it("counts and iterates", function()
    assert.equal(2, v:count())
    local seen = {}
    for i, row in v:rows() do seen[i] = row.packets end
    assert.same({ 7, 3 }, seen)
  end)

  it("checks bounds", function()
    for _, index in ipairs { 0, 3, -1, 1.5, 0 / 0 } do
      fails("there is no record", function() return v[index] end)
    end
  end)

  it("names the nearest field and method", function()
    fails('there is no field "packet" (did you mean "packets"?)', function() return v[1].packet end)
    fails('records have no "cuont" (did you mean "count"?)', function() return v:cuont() end)
  end)

  it("cannot be written", function()
    fails("cannot be changed", function() v[1] = {} end)
    fails("cannot be changed", function() v.count = 1 end)
    fails("cannot be changed", function() v[1].bytes = 1 end)
    assert.equal("records", getmetatable(v))
    assert.equal("row", getmetatable(v[1]))
  end)

  it("is an error to use after its window, rows and iterators included", function()
    local row, iterate = v[1], v:rows()
    v:close()
    v:close()
    local message = "these records belong to window 12, which is closed"
    fails(message, function() return v[1] end)
    fails(message, function() return v:count() end)
    fails(message, function() return row.packets end)
    fails(message, function() return row.nothing end)
    fails(message, iterate)
    fails(message, function() return v:copy() end)
    local _, said = pcall(function() return row.packets end)
    assert.truthy(said:find("view_spec.lua", 1, true), said)
  end)

  it("copies rows that outlive the window", function()
    local small = view.new(fake.new({ { "a", "uint", 4 } }, { { a = 1 }, { a = 2 } }))
    local copied, first, plain, row = small:copy(), small:copy(1), small[2]:plain(), small[2]
    small:close()
    assert.same({ { a = 1 }, { a = 2 } }, copied)
    assert.same({ { a = 1 } }, first)
    assert.same({ a = 2 }, plain)
    fails("is closed", function() return row:plain() end)
  end)

  it("shows itself", function()
    local small = view.new(fake.new({ { "src", "address" }, { "a", "uint", 4, dims = { 2 } } }, { { src = "1.2.3.4", a = { 5, 6 } } }))
    assert.equal("src=1.2.3.4 a=[5 6]", tostring(small[1]))
    assert.equal("records of window ? (1 rows)", tostring(small))
    assert.same({ "src", "a" }, small:fields())
  end)

  it("passes JSON to the batch", function()
    assert.equal("all limit nil", v:json())
    assert.equal("all limit 1", v:json(1))
  end)

  it("can be empty", function()
    local empty = view.new(fake.new(FLOWS, {}))
    assert.equal(0, empty:count())
    fails("there is no record 1 of 0", function() return empty[1] end)
    for _ in empty:rows() do error("a row") end
  end)

  it("says so when it is called without a colon", function()
    fails("expected records", function() v.count() end)
  end)
end)
