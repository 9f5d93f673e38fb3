-- SPDX-License-Identifier: Apache-2.0

local shape = require "perilune.records.shape"
local view = require "perilune.records.view"
local fake = dofile("tests/lua/fake_batch.lua")

local FIELDS = {
  { "src", "address", key = true }, { "dst", "address", key = true }, { "dport", "be_uint", 2, key = true },
  { "proto", "uint", 1, key = true }, { "comm", "text", 6 }, { "state", "enum", 4, names = { [1] = "OPEN", [2] = "SHUT" } },
  { "seen", "bool" }, { "packets", "uint", 8 }, { "bytes", "uint", 8 }, { "drift", "int", 4 }, { "list", "uint", 4, dims = { 2 } },
}

local ROWS = {
  {
    src = "10.0.0.1", dst = "10.0.0.9", dport = 53, proto = 17, comm = "dig", state = 1, seen = true, packets = 5, bytes = 500,
    drift = -3,
  },
  { src = "10.0.0.2", dst = "10.0.0.9", dport = 80, proto = 6, comm = "curl", state = 2, packets = 9, bytes = 9000, drift = 4 },
  { src = "10.0.0.1", dst = "10.0.0.1", dport = 80, proto = 6, comm = "curl", state = 2, packets = 9, bytes = 100, drift = 0 },
  { src = "10.0.0.3", dst = "10.0.0.8", dport = 443, proto = 6, comm = "curlew", state = 7, packets = 1, bytes = 2000, drift = 1 },
}

local function fails(expected, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(tostring(message):find(expected, 1, true), tostring(message))
  return message
end

local function column(v, field) return v:column(field) end

describe("verbs on records", function()
  local v
  before_each(function() v = view.new(fake.new(FIELDS, ROWS), { window = 3 }) end)

  it("aggregate", function()
    assert.equal(24, v:sum("packets"))
    assert.equal(24, shape.total(v, "packets"))
    assert.equal(1, v:min("packets"))
    assert.equal(9, v:max("packets"))
    assert.equal(6, v:mean("packets"))
    assert.equal(-3, v:min("drift"))
    assert.equal(656, v:sum("dport"))
  end)

  it("aggregate nothing", function()
    local none = v:where "bytes > 1e9"
    assert.equal(0, none:count())
    assert.equal(0, none:sum("bytes"))
    assert.is_nil(none:min("bytes"))
    assert.is_nil(none:mean("bytes"))
    assert.equal(0, none:top(5, "bytes"):count())
    assert.same({}, none:sort("bytes"):column("bytes"))
    assert.equal(0, none:group("src"):count())
  end)

  it("choose by equality", function()
    assert.same({ 9000, 100 }, column(v:where { dport = 80 }, "bytes"))
    assert.same({ 500, 100 }, column(v:where { src = "10.0.0.1" }, "bytes"))
    assert.same({ 100 }, column(v:where { src = "10.0.0.1", dport = 80 }, "bytes"))
    assert.same({ 500 }, column(v:where { seen = true }, "bytes"))
    assert.same({ 9000, 100 }, column(v:where { comm = "curl" }, "bytes"))
    assert.same({ 2000 }, column(v:where { comm = "curlew" }, "bytes"))
    assert.same({ 9000, 100 }, column(v:where { state = "SHUT" }, "bytes"))
    assert.same({ 2000 }, column(v:where { state = 7 }, "bytes"))
    assert.equal(4, v:where({}):count())
  end)

  it("choose by a condition as text", function()
    local cases = {
      { "bytes > 1e3", { 9000, 2000 } },
      { "bytes > 1e3 and dport == 443", { 2000 } },
      { "bytes<=500 or proto == 0x6 and dport != 80", { 500, 100, 2000 } },
      { "not (dport == 80)", { 500, 2000 } },
      { "bytes / packets >= 1000", { 9000, 2000 } },
      { "bytes % 1000 == 0 and -drift < 0", { 9000, 2000 } },
      { "drift < -2.5", { 500 } },
      { "src == '10.0.0.1'", { 500, 100 } },
      { '"10.0.0.1" ~= src', { 9000, 2000 } },
      { "src == dst", { 100 } },
      { 'comm == "curl" or comm == "dig"', { 500, 9000, 100 } },
      { "seen", { 500 } },
      { "not seen and state == 'OPEN'", {} },
      { "seen == false and state == 7", { 2000 } },
      { "packets * 2 + 1 - 3 * (2 + 1) == 2", { 500 } },
      { "true", { 500, 9000, 100, 2000 } },
    }
    for _, case in ipairs(cases) do
      assert.same(case[2], column(v:where(case[1]), "bytes"), case[1])
    end
  end)

  it("choose by both, by a function, and from a choice", function()
    assert.same({ 9000 }, column(v:where { "bytes > 1e3", dport = 80 }, "bytes"))
    assert.same({ 9000 }, column(v:where(function(row) return row.packets == 9 and row.bytes > 100 end), "bytes"))
    assert.same({ 100 }, column(v:where { dport = 80 }:where "bytes < 500", "bytes"))
    assert.same({ 100 }, column(v:where { dport = 80 }:where(function(row) return row.src == "10.0.0.1" end), "bytes"))
  end)

  it("explain a wrong condition", function()
    local cases = {
      { "byts > 1", 'there is no field "byts" (did you mean "bytes"?)' }, { "bytes = 1", "to compare, write ==" },
      { "bytes", "it is no condition" }, { "bytes >", "it ends too early" }, { "(bytes > 1", "a bracket is not closed" },
      { "bytes > 1 2", "unexpected 2" }, { "src > '1.2.3.4'", "can only be compared with ==" },
      { "src == 1", "src is an address and 1 is not" }, { "bytes == 'x'", "cannot be compared" },
      { "bytes and 1 > 0", "and takes booleans" }, { "1 < bytes < 3", "join comparisons with and" },
      { "list == 1", '"list" is a list' }, { "src == '10.0.0'", '"src" cannot be "10.0.0"' }, { "1e999 > bytes", "too large" },
      { "os.exit() == 1", 'there is no field "os.exit"' }, { "bytes > 1; error()", "unexpected ;" },
      { ("("):rep(200) .. "true", "nested too deeply" }, { ("true and "):rep(1000) .. "true", "too long" },
      { "bytes # 2", "unexpected #" }, { "", "it ends too early" }, { "comm == 'far too long'", "cannot be" },
    }
    for _, case in ipairs(cases) do fails(case[2], v.where, v, case[1]) end
    fails('"dport" is a number, not a string', v.where, v, { dport = "80" })
    fails('there is no field "port" (did you mean "dport"?)', v.where, v, { port = 80 })
    fails("where: expected", v.where, v, 5)
    local message = fails("", function() local _ = v:where "byts > 1" end)
    assert.truthy(message:find("shape_spec.lua", 1, true), message)
  end)

  it("order", function()
    assert.same({ 9000, 2000 }, column(v:top(2, "bytes"), "bytes"))
    assert.same({ 9000, 2000, 500, 100 }, column(v:top(10, "bytes"), "bytes"))
    assert.same({ 9000, 100 }, column(v:top(2, "packets"), "bytes"), "equal values: the first row first")
    assert.same({ 9000, 100, 500, 2000 }, column(v:top(4, "packets"), "bytes"))
    assert.equal(0, v:top(0, "bytes"):count())
    assert.same({ 100, 500, 2000, 9000 }, column(v:sort "bytes", "bytes"))
    assert.same({ 9000, 2000, 500, 100 }, column(v:sort("bytes", "descending"), "bytes"))
    assert.same({ "10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.3" }, column(v:sort "src", "src"))
    assert.same({ 500, 9000, 2000, 100 }, column(v:sort("bytes"):sort("bytes", "descending"):where(function() return true end)
      :sort "proto":top(4, "proto"):top(4, "proto"), "bytes"))
    fails("has no order", v.sort, v, "seen")
    fails("how many rows", v.top, v, "bytes")
    fails('"src" is not a number but an address', v.top, v, 3, "src")
    fails("ascending", v.sort, v, "bytes", "up")
  end)

  it("find the top of many as sorting does, from all and from a choice", function()
    local many = view.new(fake.new({ { "id", "uint", 4 }, { "value", "uint", 8 } }, 5000, function(i, put)
      put("id", i)
      put("value", (i * 7919) % 613)
    end))
    for _, n in ipairs { 1, 2, 7, 100, 4999, 5000 } do
      assert.same(column(many:sort("value", "descending"), "id")[n], many:top(n, "value")[n].id)
    end
    local sorted = column(many:where("id % 2 == 0"):sort("value", "descending"), "id")
    local top = column(many:where("id % 2 == 0"):top(50, "value"), "id")
    for i = 1, 50 do assert.equal(sorted[i], top[i]) end
  end)

  it("group", function()
    local by_src = v:group("src", { bytes = shape.sum "bytes", n = shape.count(), least = "min packets", most = "max packets" })
    assert.same({
      { src = "10.0.0.1", bytes = 600, n = 2, least = 5, most = 9 }, { src = "10.0.0.2", bytes = 9000, n = 1, least = 9, most = 9 },
      { src = "10.0.0.3", bytes = 2000, n = 1, least = 1, most = 1 },
    }, { by_src[1], by_src[2], by_src[3] })
    assert.equal(3, by_src:count())
    assert.equal(11600, by_src:sum "bytes")
    assert.equal("10.0.0.2", by_src:top(1, "bytes")[1].src)
    assert.same({ "10.0.0.1", "10.0.0.3", "10.0.0.2" }, by_src:sort("bytes"):column("src"))
    assert.equal(1, by_src:where({ n = 2 }):count())
    assert.equal(2, by_src:where(function(row) return row.bytes > 1000 end):count())
    fails('did you mean "bytes"', by_src.sum, by_src, "byte")
    fails('did you mean "count"', function() return by_src:cuont() end)
  end)

  it("group by several fields, of a choice, with means", function()
    local pairs_of = v:where { proto = 6 }:group({ "proto", "dport" }, { mean = { kind = "mean", field = "bytes" } })
    assert.same({ { proto = 6, dport = 80, mean = 4550 }, { proto = 6, dport = 443, mean = 2000 } }, { pairs_of[1], pairs_of[2] })
    assert.same({ 1, 2, 1 }, v:group("state"):column("n"))
    fails("is no aggregate", v.group, v, "src", { bytes = "total bytes" })
    fails('there is no field "scr"', v.group, v, "scr", {})
    fails("by which field", v.group, v, {}, {})
  end)

  it("visit", function()
    local seen = {}
    v:each(function(row, i) seen[i] = row.dport end)
    assert.same({ 53, 80, 80, 443 }, seen)
    assert.same({ "dig", "curl", "curl", "curlew" }, v:column "comm")
  end)

  it("group by raw bytes for the engine", function()
    local groups, count = shape.groups(v, "src", { "bytes", "packets" })
    assert.equal(3, count)
    local raw = shape.raw(v, "src", "10.0.0.1")
    assert.same({ n = 2, bytes = 600, packets = 14 }, groups[raw])
    assert.equal("10.0.0.1", shape.text(v, "src", raw))
    assert.same({ n = 3 }, shape.groups(v, "proto")["\6"])
    assert.same({ n = 1 }, shape.groups(v:where { dport = 53 }, "proto", {})["\17"])
    assert.is_nil(shape.raw(v, "src", "nonsense"))
  end)

  it("group by several fields together, which are told apart again", function()
    local groups, count = shape.groups(v, { "src", "proto", "dst" }, { "packets" })
    local seen, packets = {}, 0
    for raw, group in pairs(groups) do
      local src, proto, dst = unpack(shape.texts(v, { "src", "proto", "dst" }, raw))
      local rows = v:where { src = src, dst = dst, proto = tonumber(proto) }
      assert.equal(rows:count(), group.n)
      assert.equal(rows:sum "packets", group.packets)
      seen[#seen + 1], packets = raw, packets + group.packets
    end
    assert.equal(count, #seen)
    assert.equal(v:sum "packets", packets)
  end)

  it("pass choices to JSON by record number", function()
    assert.equal("2,4 limit nil", v:top(2, "bytes"):json())
    assert.equal("2 limit 1", v:top(2, "bytes"):json(1))
  end)

  it("are errors after the window, for choices as well", function()
    local chosen = v:where { dport = 80 }
    v:close()
    fails("window 3, which is closed", chosen.sum, chosen, "bytes")
    fails("window 3, which is closed", chosen.top, chosen, 1, "bytes")
    fails("window 3, which is closed", shape.groups, v, "src", {})
    fails("window 3, which is closed", function() return chosen[1] end)
  end)

  it("never give a sum that is not exact", function()
    local huge = view.new(fake.new({ { "a", "uint", 8 }, { "b", "uint", 8 }, { "g", "uint", 1 } },
      { { a = 9007199254740992ULL, b = 9007199254740993ULL }, { a = 1, b = 0 } }))
    assert.equal(2 ^ 53, huge:max("a"))
    fails('the sum of "a" reaches 2^53', huge.sum, huge, "a")
    fails('"b" is beyond 2^53', huge.sum, huge, "b")
    fails('"b" is beyond 2^53', huge.where, huge, "b > 1")
    fails('"a" is beyond 2^53', shape.groups, huge, "g", { "a" })
    fails('the sum of "a" reaches 2^53', huge.group, huge, "g", { a = "sum a" })
    local message = fails('"b" is beyond 2^53', function() local _ = huge:sum("b") end)
    assert.truthy(message:find("shape_spec.lua", 1, true), message)
  end)
end)
