-- SPDX-License-Identifier: Apache-2.0
-- Every kind of field as Lua sees it: by rows, by columns and in conditions, against arithmetic on bits.

local bit = require "bit"
local ffi = require "ffi"
local shape = require "perilune.records.shape"
local view = require "perilune.records.view"
local fake = dofile("tests/lua/fake_batch.lua")

local LARGEST = 2 ^ 53
local random = math.random

local function fails(expected, fn, ...)
  local ok, message = pcall(fn, ...)
  assert.is_false(ok)
  assert.truthy(tostring(message):find(expected, 1, true), tostring(message))
end

-- A view of one field in one record.
local function one(spec, value, options)
  return view.new(fake.new({ { "pad", "uint", options and options.before or 1 }, spec }, { { pad = 1, [spec[1]] = value } },
    nil, options))
end

local function read(spec, value, options)
  local v = one(spec, value, options)
  return v[1][spec[1]], v
end

-- The bits of a record, from bit `at` on, lowest first.
local function bits_of(bytes, at, n)
  local bits = {}
  for i = at, at + n - 1 do
    bits[#bits + 1] = math.floor(bytes:byte(math.floor(i / 8) + 1) / 2 ^ (i % 8)) % 2
  end
  return bits
end

-- What they stand for, or nil when a number cannot hold it. Of a negative number, the bits of its complement.
local function number_of(bits, signed)
  local negative, value = signed and bits[#bits] == 1, 0
  for i = #bits, 1, -1 do
    local b = negative and 1 - bits[i] or bits[i]
    if b == 1 and i > 54 then return nil end
    value = value + b * 2 ^ (i - 1)
    if value > LARGEST then return nil end
  end
  if not negative then return value end
  if value >= LARGEST then return nil end
  return -value - 1
end

local BYTES = { 0, 0, 255, 255, 1, 128 }

local function noise(n, few)
  local out = {}
  for i = 1, n do out[i] = string.char(few and BYTES[random(#BYTES)] or random(0, 255)) end
  return table.concat(out)
end

describe("integers", function()
  local LIMITS = {
    [1] = { 255, -128, 127 }, [2] = { 65535, -32768, 32767 }, [4] = { 4294967295, -2147483648, 2147483647 },
    [8] = { LARGEST, -LARGEST, LARGEST }, [16] = { LARGEST, -LARGEST, LARGEST },
  }

  it("of all sizes have their limits, aligned or not", function()
    for size, limits in pairs(LIMITS) do
      for _, before in ipairs { 1, 8, 2, 4 } do
        local options = { before = before, noise = 0xff }
        assert.equal(limits[1], (read({ "x", "uint", size }, limits[1], options)))
        assert.equal(limits[2], (read({ "x", "int", size }, limits[2], options)))
        assert.equal(limits[3], (read({ "x", "int", size }, limits[3], options)))
        assert.equal(-1, (read({ "x", "int", size }, -1, options)))
        assert.equal(0, (read({ "x", "uint", size }, 0, options)))
      end
    end
  end)

  it("beyond 2^53 are errors wherever they are read", function()
    local cases = {
      { "uint", 8, 9007199254740993ULL }, { "uint", 8, -1ULL }, { "int", 8, -9007199254740993LL },
      { "int", 8, 9007199254740993LL }, { "int", 8, bit.lshift(1LL, 63) }, { "be_uint", 8, 9007199254740993ULL },
      { "uint", 16, { 0ULL, 1ULL } }, { "uint", 16, { 9007199254740993ULL, 0ULL } }, { "uint", 16, { 5ULL, -1ULL } },
      { "int", 16, { 0ULL, 1ULL } }, { "int", 16, { 0ULL, -1ULL } }, { "int", 16, { 9007199254740993ULL, 0ULL } },
      { "int", 16, { bit.lshift(1ULL, 63), 0ULL } }, { "int", 16, { bit.lshift(1ULL, 63), -1ULL } },
    }
    for _, case in ipairs(cases) do
      local v = one({ "x", case[1], case[2] }, case[3])
      for _, fn in ipairs {
        function() return v[1].x end, function() return v:sum "x" end, function() return v:max "x" end,
        function() return v:column "x" end, function() return v:where "x > 1" end, function() return v:top(1, "x") end,
        function() return v:quantile("x", 0.5) end, function() return v:group("pad", { s = "max x" }) end,
        function() return v:copy() end, function() return v:group("x") end,
      } do
        fails('"x" is beyond 2^53', fn)
      end
    end
  end)

  it("of 128 bits are exact", function()
    assert.equal(LARGEST, (read({ "x", "uint", 16 }, { 9007199254740992ULL, 0ULL })))
    assert.equal(-LARGEST, (read({ "x", "int", 16 }, { ffi.cast("uint64_t", -9007199254740992LL), -1ULL })))
    local v = view.new(fake.new({ { "x", "int", 16 } }, { { x = -5 }, { x = 7 }, { x = -9 } }))
    assert.equal(-7, v:sum "x")
    assert.equal(-9, v:min "x")
    assert.same({ -9, -5 }, v:where("x < 0"):sort("x"):column "x")
    assert.equal(7, v:top(1, "x")[1].x)
    assert.equal(3, v:distinct "x")
  end)

  it("in network order are numbers", function()
    for _, size in ipairs { 2, 4, 8 } do
      assert.equal(0x102, (read({ "x", "be_uint", size }, 0x102)))
      local v = view.new(fake.new({ { "x", "be_uint", size } }, { { x = 1 }, { x = 256 } }))
      assert.same({ 257, 256 }, { v:sum "x", v:max "x" })
      assert.equal(1, v:where({ x = 256 }):count())
    end
    assert.equal(4294967295, (read({ "x", "be_uint", 4 }, 4294967295)))
  end)
end)

describe("bitfields", function()
  -- One bitfield somewhere in a small record of noise.
  local function random_field()
    local bits, low = random(1, 64), random(0, 7)
    if random(4) == 1 then bits = random(54, 64) end
    local size = math.ceil((low + bits) / 8)
    local stride = size <= 8 and random(1, 3) * 8 or random(2, 3) * 8
    local kind = random(2) == 1 and "int" or "uint"
    return { "x", kind, size, bit = low, bits = bits, offset = random(0, stride - size) }, stride
  end

  it("read as arithmetic on bits does, at all offsets and widths, and beyond 2^53 not at all", function()
    local inexact = 0
    for _ = 1, 1500 do
      local spec, stride = random_field()
      local batch = fake.new({ spec }, 70, function() end, { stride = stride })
      local expected, exact = {}, true
      for i = 1, 70 do
        local bytes = noise(stride, random(2) == 1)
        batch:fill(i, bytes)
        expected[i] = number_of(bits_of(bytes, spec.offset * 8 + spec.bit, spec.bits), spec[2] == "int")
        exact = exact and expected[i] ~= nil
      end
      local v = view.new(batch)
      local where = ("%s %d bits at %d.%d of %d"):format(spec[2], spec.bits, spec.offset, spec.bit, stride)
      for i = 1, 70, exact and 23 or 1 do
        if expected[i] then
          assert.equal(expected[i], v[i].x, where)
        else
          inexact = inexact + 1
          fails("beyond 2^53", function() return v[i].x end)
        end
      end
      if exact then assert.same(expected, v:column "x", where) else fails("beyond 2^53", v.column, v, "x") end
    end
    assert.is_true(inexact > 100)
  end)

  it("group, join and count by their own bits only", function()
    for _ = 1, 60 do
      local spec, stride = random_field()
      local batch = fake.new({ spec }, 200, function() end, { stride = stride })
      local models, different = {}, 0
      for i = 1, 200 do
        local bytes = noise(stride)
        local chosen = random(0, 3) -- few values in much noise
        batch:fill(i, bytes)
        batch:put(i, "x", spec[2] == "int" and -chosen or chosen)
        local key = table.concat(bits_of(ffi.string(batch.records + (i - 1) * stride, stride),
          spec.offset * 8 + spec.bit, spec.bits))
        if not models[key] then models[key], different = 0, different + 1 end
        models[key] = models[key] + 1
      end
      local v = view.new(batch)
      assert.equal(different, v:distinct "x")
      local groups = v:group("x")
      assert.equal(different, groups:count())
      assert.equal(200, groups:sum "n")
      local raws, n = shape.groups(v, "x")
      assert.equal(different, n)
      for raw in pairs(raws) do
        local text = shape.text(v, "x", raw)
        local again = 0
        for _, row in ipairs(groups) do again = again + (("%.0f"):format(row.x) == text and row.n or 0) end
        assert.equal(raws[raw].n, again)
      end
      local pairs_of = 0
      for _, count in pairs(models) do pairs_of = pairs_of + count * count end
      assert.equal(pairs_of, v:join(v, "x"):count())
    end
  end)

  it("may be booleans and enums", function()
    local specs = {
      { "a", "bool", 1, bit = 3, bits = 1, offset = 0 }, { "b", "bool", 1, bit = 4, bits = 1, offset = 0 },
      { "e", "enum", 2, bit = 6, bits = 4, offset = 0, names = { [1] = "OPEN", [9] = "SHUT" } },
      { "s", "enum", 1, bit = 4, bits = 3, offset = 2, signed = true, names = { [-1] = "NONE" } },
    }
    local v = view.new(fake.new(specs, { { a = true, e = 9, s = -1 }, { b = true, e = 1, s = 2 }, { e = 5, s = -2 } },
      nil, { noise = 0 }))
    assert.same({ { true, false, "SHUT", "NONE" }, { false, true, "OPEN", 2 }, { false, false, 5, -2 } },
      { { v[1].a, v[1].b, v[1].e, v[1].s }, { v[2].a, v[2].b, v[2].e, v[2].s }, { v[3].a, v[3].b, v[3].e, v[3].s } })
    assert.equal(1, v:where("e == 'SHUT'"):count())
    assert.equal(2, v:where("e ~= 'SHUT'"):count())
    assert.equal(1, v:where({ e = "OPEN" }):count())
    assert.equal(1, v:where({ e = 5 }):count())
    assert.equal(1, v:where({ s = "NONE" }):count())
    assert.equal(1, v:where("a and not b"):count())
    assert.same({ 1, 1, 1 }, v:group("e"):column "n")
  end)
end)

describe("other scalars", function()
  it("are floats", function()
    local specs = { { "f", "float", 4 }, { "d", "float", 8 }, { "n", "uint", 1 } }
    local v = view.new(fake.new(specs, {
      { f = 1.5, d = 0.1, n = 1 }, { f = -2.25, d = 1e300, n = 1 }, { f = 0 / 0, d = -1 / 0, n = 2 }, { f = 8, d = 3, n = 2 },
    }))
    assert.equal(1.5, v[1].f)
    assert.equal(0.1, v[1].d)
    assert.equal(1e300, v:max "d")
    assert.equal(-2.25, v:min "f")
    assert.equal(8, v:max "f")
    assert.same({ 8, 1.5, -2.25 }, v:top(3, "f"):column "f")
    assert.equal(4, v:top(4, "f"):count())
    assert.is_true(v:top(4, "f")[4].f ~= v:top(4, "f")[4].f, "what is no number comes last")
    assert.is_true(v:top(4, "f"):count() == 4 and v:sort("f", "descending")[4].f ~= v:sort("f", "descending")[4].f)
    assert.same({ -1 / 0, 0.1, 3, 1e300 }, v:sort("d"):column "d")
    assert.equal(1e300, v:where("n == 1"):sum "d")
    assert.equal(1.5, v:quantile("f", 0.5))
    local grouped = v:group("n", { low = "min f", high = "max f", mid = "quantile f 0.5" })
    assert.same({ { n = 1, low = -2.25, high = 1.5, mid = -2.25 }, { n = 2, low = 8, high = 8, mid = 8 } },
      { grouped[1], grouped[2] })
  end)

  it("are enums of all sizes, whose unknown values stay exact numbers", function()
    for _, size in ipairs { 1, 2, 4, 8 } do
      local spec = { "e", "enum", size, signed = true, names = { [3] = "THREE", [-1] = "NONE" } }
      local v = view.new(fake.new({ { "pad", "uint", 1 }, spec }, { { e = 3 }, { e = -1 }, { e = 7 }, { e = -3 } }))
      assert.same({ "THREE", "NONE", 7, -3 }, v:column "e")
      assert.same({ "THREE", "NONE", 7, -3 }, v:column "e")
      assert.equal(1, v:where({ e = "NONE" }):count())
      assert.equal(1, v:where("e == -3"):count())
      assert.equal(4, v:distinct "e")
    end
    local v = view.new(fake.new({ { "e", "enum", 8, names = {} } }, { { e = 4 }, { e = LARGEST } }))
    assert.equal(LARGEST, v[2].e)
    local named = view.new(fake.new({ { "e", "enum", 4, names = { [0] = "INF", [1] = "NAN" } } }, { { e = 0 }, { e = 1 } }))
    assert.same({ "INF", "NAN" }, named:column "e")
  end)

  it("are pointers", function()
    local v = view.new(fake.new({ { "pad", "uint", 2 }, { "p", "pointer" } },
      { { p = 0xffff888012345678ULL }, { p = 0 }, { p = 0x10 } }))
    assert.same({ "0xffff888012345678", "0x0", "0x10" }, v:column "p")
    assert.equal(1, v:where({ p = "0xFFFF888012345678" }):count())
    assert.equal(1, v:where("p == '0x0'"):count())
    assert.same({ "0x0", "0x10", "0xffff888012345678" }, v:sort("p"):column "p")
    fails('"p" cannot be "here"', v.where, v, { p = "here" })
    fails('"p" is not a number but an address in memory', v.sum, v, "p")
  end)

  it("are addresses, protocols, interfaces and times", function()
    local v = view.new(fake.new({
      { "net", "ipv4" }, { "proto", "protocol" }, { "wide", "protocol", 4 }, { "iface", "ifindex" }, { "at", "time" },
    }, {
      { net = "10.0.0.2", proto = 6, wide = 17, iface = 1, at = 1700000000500000000ULL },
      { net = "9.0.0.1", proto = 17, wide = 6, iface = 2, at = 0 },
      { net = "10.0.0.1", proto = 250, wide = 250, iface = 7, at = 5 },
    }))
    assert.same({ "10.0.0.2", "9.0.0.1", "10.0.0.1" }, v:column "net")
    assert.same({ "9.0.0.1", "10.0.0.1", "10.0.0.2" }, v:sort("net"):column "net")
    assert.same({ 6, 17, 250 }, v:column "proto")
    assert.equal(1700000000.5, v[1].at)
    for condition, count in pairs {
      ["proto == 'tcp'"] = 1, ["'tcp' ~= proto"] = 2, ["proto == 17"] = 1, ["wide == 'tcp' and proto == 'udp'"] = 1,
      ["iface == 'eth0'"] = 1, ["iface ~= 'eth0'"] = 2, ["net == '9.0.0.1'"] = 1, ["at > 1e9"] = 1, ["proto > 6"] = 2,
    } do
      assert.equal(count, v:where(condition):count(), condition)
    end
    assert.equal(1, v:where({ proto = "udp", wide = "tcp" }):count())
    assert.equal(1, v:where({ iface = "lo" }):count())
    assert.equal(1, v:where({ proto = 250 }):count())
    fails('"proto" cannot be "tpc" (it is a protocol)', v.where, v, { proto = "tpc" })
    fails('"iface" cannot be "eth9" (it is an interface)', v.where, v, "iface == 'eth9'")
    fails("can only be compared with == and ~=", v.where, v, "proto < 'tcp'")
  end)

  it("are flags", function()
    local v = view.new(fake.new({ { "tcp", "flags" }, { "ip", "flags", 1 }, { "any", "flags", 4 } },
      { { tcp = 0x12, ip = 2, any = 0x12 }, { tcp = 0x112, ip = 0, any = 0xffffffff }, { tcp = 0, ip = 7, any = 0 } }))
    assert.same({ 0x12, 0x112, 0 }, v:column "tcp")
    assert.equal(2, v[1].ip)
    for condition, count in pairs {
      ["tcp == '0x0012'"] = 1, ["tcp == 0x12"] = 1, ["tcp == 18"] = 1, ["'0x12' ~= tcp"] = 2, ["ip == '0x02'"] = 1,
      ["any == '0xffffffff'"] = 1, ["tcp % 32 >= 16"] = 2, ["any > 0x12"] = 1,
    } do
      assert.equal(count, v:where(condition):count(), condition)
    end
    assert.equal(1, v:where({ tcp = "0x0112" }):count())
    assert.equal(1, v:where({ tcp = 0x112, ip = 0 }):count())
    assert.equal(1, v:where(function(row) return bit.band(row.tcp, 0x100) ~= 0 end):count())
    assert.equal(1, shape.groups(v, "tcp")[shape.raw(v, "tcp", "0x0112")].n)
    assert.equal("0x0112", shape.text(v, "tcp", shape.raw(v, "tcp", "0x112")))
    fails('"tcp" cannot be "syn" (it is flags)', v.where, v, { tcp = "syn" })
    fails("can only be compared with == and ~=", v.where, v, "tcp < '0x0002'")
  end)

  it("are text up to its NUL, whatever follows", function()
    local batch = fake.new({ { "t", "text", 6 }, { "u", "text", 6 }, { "n", "uint", 4 } }, 3, function() end)
    batch:fill(1, "ab\0xyzab\0pqr\1\0\0\0")
    batch:fill(2, "ab\0\0\0\0ab\0\0\0\0\1\0\0\0")
    batch:fill(3, "abcdefabcde\0\1\0\0\0")
    local v = view.new(batch)
    assert.same({ "ab", "ab", "abcdef" }, v:column "t")
    assert.equal(2, v:distinct "t")
    assert.same({ 2, 1 }, v:group("t"):column "n")
    assert.same({ 2, 1 }, v:group({ "t", "u" }):column "n")
    assert.equal(2, v:where({ t = "ab" }):count())
    assert.equal(2, v:where("t == u"):count())
    assert.equal(2, shape.groups(v, "t")[shape.raw(v, "t", "ab")].n)
    assert.equal("ab", shape.text(v, "t", shape.raw(v, "t", "ab")))
  end)

  it("are bytes, of any length", function()
    local long = ("ab:"):rep(299) .. "cd"
    local v = view.new(fake.new({ { "mac", "bytes", 6 }, { "blob", "bytes", 300 } },
      { { mac = "02:00:5e:10:00:01", blob = long }, { mac = "ff:ff:ff:ff:ff:ff", blob = ("00:"):rep(299) .. "00" } }))
    assert.equal("02:00:5e:10:00:01", v[1].mac)
    assert.equal(1, v:where({ mac = "ff:ff:ff:ff:ff:ff" }):count())
    assert.equal(1, v:where({ blob = long }):count())
    assert.equal(long, v:where({ blob = long })[1].blob)
  end)
end)

describe("arrays", function()
  it("are nested lists, outermost first", function()
    local specs = {
      { "m", "uint", 2, dims = { 2, 3 } }, { "t", "text", 4, dims = { 2 } }, { "single", "int", 8, dims = { 1 } },
      { "cube", "int", 1, dims = { 2, 1, 2 } }, { "e", "enum", 1, dims = { 3 }, names = { [1] = "ON" } },
      { "ips", "ipv4", 4, dims = { 2 } }, { "wide", "uint", 16, dims = { 2 } }, { "f", "float", 8, dims = { 2 } },
      { "b", "bool", 1, dims = { 2 } }, { "p", "pointer", 8, dims = { 2 } }, { "port", "be_uint", 2, dims = { 2 } },
    }
    local rows = { {
      m = { { 1, 2, 3 }, { 4, 5, 65535 } }, t = { "ab", "wxyz" }, single = { -7 }, cube = { { { 1, -2 } }, { { 3, -4 } } },
      e = { 1, 2, 1 }, ips = { "1.2.3.4", "5.6.7.8" }, wide = { 5, LARGEST }, f = { 0.5, -1 }, b = { true, false },
      p = { 1, 255 }, port = { 53, 443 },
    } }
    local v = view.new(fake.new(specs, rows))
    local plain = v[1]:plain()
    rows[1].e, rows[1].p = { "ON", 2, "ON" }, { "0x1", "0xff" }
    assert.same(rows[1], plain)
    assert.same({ { { 1, 2, 3 }, { 4, 5, 65535 } } }, v:column "m")
    assert.truthy(tostring(v[1]):find("m=[[1 2 3] [4 5 65535]]", 1, true))
    fails('"m" is not a number but a list of 6', v.sum, v, "m")
    fails('"m" is a list', v.where, v, "m == 1")
    fails('"m" is a list of 6 and has no order', v.sort, v, "m")
    assert.equal(1, v:group("m"):count())
  end)

  it("of structs give each field its list, also of bitfields", function()
    local specs = {
      { "x", "uint", 1, offset = 0, dims = { { count = 3, stride = 4 } } },
      { "lo", "uint", 1, offset = 1, bit = 0, bits = 3, dims = { { count = 3, stride = 4 } } },
      { "hi", "int", 2, offset = 1, bit = 3, bits = 9, dims = { { count = 3, stride = 4 } } },
    }
    local v = view.new(fake.new(specs, { { x = { 1, 2, 3 }, lo = { 7, 0, 5 }, hi = { -256, 255, -1 } } }))
    assert.same({ x = { 1, 2, 3 }, lo = { 7, 0, 5 }, hi = { -256, 255, -1 } }, v[1]:plain())
    fails("whose elements do not lie together", v.group, v, "x")
    fails("whose elements do not lie together", v.distinct, v, "hi")
  end)

  it("of the CPUs' values are outermost", function()
    local cpus = { count = 2, stride = 16 }
    local v = view.new(fake.new({
      { "key", "uint", 4, key = true }, { "n", "uint", 8, offset = 8, dims = { cpus } },
      { "list", "uint", 2, offset = 16, dims = { cpus, { count = 4, stride = 2 } } },
    }, { { key = 1, n = { 5, 6 }, list = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } } } }, nil, { stride = 40 }))
    assert.same({ key = 1, n = { 5, 6 }, list = { { 1, 2, 3, 4 }, { 5, 6, 7, 8 } } }, v[1]:plain())
  end)

  it("read any integers and bitfields as arithmetic does", function()
    for _ = 1, 300 do
      local bitfield = random(2) == 1
      local bits, low = random(1, 53), random(0, 7)
      local size = bitfield and math.ceil((low + bits) / 8) or 2 ^ random(0, 2)
      local rows, columns = random(1, 3), random(1, 4)
      local stride = size + random(0, 3)
      local spec = {
        "x", random(2) == 1 and "int" or "uint", size, bit = bitfield and low or nil, bits = bitfield and bits or nil,
        offset = random(0, 5), dims = { { count = rows, stride = stride * columns + random(0, 2) }, { count = columns, stride = stride } },
      }
      local length = spec.offset + spec.dims[1].stride * rows
      local batch = fake.new({ spec }, 1, function() end, { stride = length + -length % 8 })
      local bytes = noise(batch.about.stride)
      batch:fill(1, bytes)
      local expected = {}
      for i = 1, rows do
        expected[i] = {}
        for j = 1, columns do
          local at = spec.offset + (i - 1) * spec.dims[1].stride + (j - 1) * stride
          expected[i][j] = number_of(bits_of(bytes, at * 8 + (bitfield and low or 0), bitfield and bits or size * 8),
            spec[2] == "int")
        end
      end
      assert.same(expected, view.new(batch)[1].x)
    end
  end)
end)
