-- SPDX-License-Identifier: Apache-2.0
-- The loops of the verbs are compiled, not interpreted.

local funcinfo = require("jit.util").funcinfo
local figures = require "perilune.engine.figures"
local shape = require "perilune.records.shape"
local view = require "perilune.records.view"
local fake = dofile("tests/lua/fake_batch.lua")

local ROWS = 20000
local v, half, earlier, narrow

-- Runs fn until the generated function `wanted` (or quantile.lua) has traces made of it and none of them is given up
-- in a run: returns whether that came to be, in 20 runs. The first run alone proves nothing: LuaJIT counts by hashed
-- addresses, so a loop may inherit the long wait of another, a trace that begins at a function's head (pc 0) and meets
-- the loop is none, and loops in loops are tried in another order first.
local function compiled(fn, wanted)
  local current, made, aborted
  local function watch(what, _, func, pc)
    if what == "start" then
      local source = pc > 0 and funcinfo(func).source or ""
      current = source == "=perilune." .. wanted or source:find("/" .. wanted .. ".lua", 1, true)
    elseif current then
      made = made or what == "stop"
      aborted = aborted or what == "abort"
    end
  end
  jit.flush()
  jit.attach(watch, "trace")
  local ok, message
  for _ = 1, 20 do
    aborted = false
    ok, message = pcall(fn)
    if not ok or made and not aborted then break end
  end
  jit.attach(watch)
  assert(ok, message)
  return made and not aborted
end

local FIELDS = {
  { "dst", "address", key = true }, { "dport", "be_uint", 2 }, { "proto", "protocol", 1 }, { "flags", "uint", 4 },
  { "packets", "uint", 8 }, { "bytes", "uint", 8 }, { "first", "time" }, { "load", "float", 8 }, { "wide", "uint", 16 },
  { "drift", "int", 8 }, { "low", "uint", 1, bit = 2, bits = 5 }, { "high", "int", 9, bit = 5, bits = 62 },
  { "comm", "text", 16 }, { "odd", "bytes", 1 }, { "late", "uint", 8 },
  { "classes", "uint", 8, dims = { 12 } },
}

local NAMES = { "curl", "dig", "sshd" }

local function records(n)
  return fake.new(FIELDS, n, function(i, put)
    put("dst", ("10.%d.%d.%d"):format(math.floor(i / 65536), math.floor(i / 256) % 256, i % 256))
    put("dport", i % 65536)
    put("proto", i % 2 == 0 and 6 or 17)
    put("flags", i)
    put("packets", i % 97)
    put("bytes", i * 10)
    put("load", i / 7)
    put("wide", i)
    put("drift", i % 2 == 0 and -i or i)
    put("low", i % 32)
    put("high", -i)
    put("comm", NAMES[i % 3 + 1])
    put("late", i)
    put("classes", { i % 3, i % 5, i % 7, 1, 2, 3, 4, 5, 6, 7, 8, i % 2 })
  end)
end

-- Text of the last word of the source "=perilune.NAME" that has to be among the traces.
local HOT = {
  total = { "sum", function() return shape.total(v, "packets") end },
  ["sum of a choice"] = { "sum", function() return half:sum "bytes" end },
  ["sum of signed"] = { "sum", function() return v:sum "drift" end },
  ["sum of floats"] = { "sum", function() return v:sum "load" end },
  ["sum of 128 bits"] = { "sum", function() return v:sum "wide" end },
  ["sum of a bitfield"] = { "sum", function() return v:sum "low" end },
  ["sum of a wide bitfield"] = { "sum", function() return v:sum "high" end },
  ["sum of a field that is not aligned"] = { "sum", function() return v:sum "late" end },
  rate = { "sum", function() return v:rate "bytes" end },
  max = { "max", function() return v:max "bytes" end },
  ["min of times"] = { "min", function() return v:min "first" end },
  ["max of floats"] = { "max", function() return v:max "load" end },
  groups = { "groups", function() return shape.groups(v, "dst", { "packets", "bytes", "drift" }) end },
  ["groups of few"] = { "groups", function() return shape.groups(v, "proto", { "packets" }) end },
  ["groups by text"] = { "groups", function() return shape.groups(v, "comm", { "packets" }) end },
  ["groups by a bitfield"] = { "groups", function() return shape.groups(v, "high", { "packets" }) end },
  top = { "top", function() return v:top(100, "bytes") end },
  ["top of floats"] = { "top", function() return v:top(100, "load") end },
  ["top of a choice"] = { "top", function() return half:top(10, "packets") end },
  where = { "where", function() return v:where("bytes > 1e5 and dport == 53 or proto == 'udp'") end },
  ["where of a choice"] = { "where", function() return half:where("load > 10 and low < 20 and high ~= 5 and wide > 3") end },
  ["where an address is"] = { "where", function() return v:where { dst = "10.0.0.77" } end },
  ["where a text is"] = { "where", function() return v:where { comm = "dig" } end },
  group = { "group", function() return v:group("proto", { bytes = "sum bytes", least = "min first", d = "mean drift" }) end },
  ["group by several"] = { "group", function() return v:group({ "proto", "comm", "low" }, { most = "max load" }) end },
  ["group of a choice"] = { "group", function() return half:group("dst", { n = "count" }) end },
  ["group distinct"] = { "group", function() return v:group("low", { ports = "distinct dport", who = "distinct comm" }) end },
  ["group quantile"] = { "scatter", function() return v:group("proto", { p99 = "quantile bytes 0.99" }) end },
  column = { "column", function() return v:column("packets") end },
  ["column of bitfields"] = { "column", function() return v:column("high") end },
  distinct = { "distinct", function() return v:distinct "dport" end },
  ["distinct texts"] = { "distinct", function() return half:distinct "comm" end },
  entropy = { "entropy", function() return v:entropy "bytes" end },
  ["entropy of floats"] = { "entropy", function() return half:entropy "load" end },
  ["group entropy"] = { "group", function() return v:group("proto", { e = "entropy packets" }) end },
  ["a quantile of a histogram"] = { "sums", function()
    return figures.whole(v, { kind = "quantile", field = "classes", q = 0.9, classes = { first = 64 } })
  end },
  ["a histogram for every key"] = { "group", function()
    return figures.by_key(v, "proto", { kind = "quantile", field = "classes", q = 0.9, classes = { first = 64 } }, function() end)
  end },
  ["a sum of some rows for every key"] = { "group", function()
    return figures.by_key(v, "dst", { kind = "sum", field = "bytes", where = "dport > 100" }, function() end)
  end },
  quantile = { "quantile", function() return v:quantile("packets", 0.5) end },
  ["join, the index"] = { "index", function() return narrow:join(v, "dst") end },
  ["join, the search"] = { "match", function() return v:join(narrow, "dst") end },
  ["delta, the search"] = { "match", function() return v:delta(earlier, "bytes") end },
  delta = { "delta", function() return v:delta(earlier, "bytes", "drift", "load", "low") end },
  ["delta to a choice"] = { "delta", function() return half:delta(earlier:where "flags > 5", "bytes") end },
}

describe("hot loops", function()
  setup(function()
    v = view.new(records(ROWS), { window = 1, seconds = 1 })
    earlier = view.new(records(ROWS), { window = 0 })
    half = v:where "flags % 2 == 0"
    narrow = v:where "flags < 3"
  end)

  for name, case in pairs(HOT) do
    it("are compiled: " .. name, function()
      assert.is_true(compiled(case[2], case[1]), case[1])
    end)
  end
end)
