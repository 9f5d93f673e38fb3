-- SPDX-License-Identifier: Apache-2.0
-- Values as people read them.
local format = require "perilune.base.format"

-- Every case: what is given, what is to be read.
local function each(fn, cases)
  for _, case in ipairs(cases) do
    assert.equal(case[2], fn(case[1]), tostring(case[1]))
  end
end

describe("format", function()
  it("groups the digits of counts", function()
    each(format.count, { { 0, "0" }, { -0, "0" }, { 999, "999" }, { 1000, "1,000" }, { 9312, "9,312" },
      { -1234567, "-1,234,567" }, { 2 ^ 53, "9,007,199,254,740,992" }, { 9311.6, "9,312" }, { 99.96, "100" },
      { 12.34, "12.3" }, { 12.04, "12" }, { 0.25, "0.25" }, { 0.001234, "0.0012" }, { -0.5, "-0.5" }, { 0.97,
        "1" },
      { 1 / 0, "inf" }, { -1 / 0, "-inf" } })
    assert.equal("nan", format.count(0 / 0))
  end)

  it("scales rates and sizes without a fourth digit", function()
    each(format.short, { { 0, "0" }, { 999, "999" }, { 999.7, "1.0k" }, { 18778, "18.8k" }, { 99960, "100k" },
      { 999499, "999k" }, { 999500, "1.0M" }, { 1.5e9, "1.5G" } })
    each(format.bits, { { 0, "0 bit/s" }, { 100, "800 bit/s" }, { 550000, "4.4 Mbit/s" }, { 125e6,
      "1.0 Gbit/s" } })
    each(format.bytes, { { 0, "0 B" }, { 812, "812 B" }, { 61200000, "61.2 MB" }, { 1 / 0, "inf B" } })
    each(format.rate, { { 8312, "8,312/s" }, { 0.5, "0.5/s" } })
  end)

  it("never rounds a share to nothing or to all", function()
    each(format.share, { { 0, "0%" }, { 0.001, "<1%" }, { 0.6, "60%" }, { 0.999, ">99%" }, { 1, "100%" } })
  end)

  it("names durations in two units at most", function()
    each(format.duration, { { 0, "0 s" }, { 0.000083, "83 us" }, { 0.083, "83 ms" }, { 0.0423, "42.3 ms" },
      { 0.1, "100 ms" }, { 0.9996, "1 s" }, { 1, "1 s" }, { 1.24, "1.2 s" }, { 59.94, "59.9 s" }, { 59.96,
        "1m 00s" },
      { 125, "2m 05s" }, { 3599.7, "1h 00m" }, { 3725, "1h 02m" }, { 90000, "1d 01h" }, { -3, "-3 s" } })
    each(format.age, { { 0.9, "0 s" }, { 1.9, "1 s" }, { -1, "0 s" }, { 65.9, "1m 05s" } })
  end)

  it("tells the time to the millisecond, rounded down", function()
    assert.equal("21:06:05.123", format.clock(1795467965123999, true))
    assert.equal("00:00:00.000", format.clock(0, true))
  end)

  it("refuses what is no time", function()
    each(format.rfc3339, { { -1, nil }, { 0 / 0, nil }, { 1 / 0, nil }, { "1", nil }, { 253402300800e6, nil },
      { 253402300799e6, "9999-12-31T23:59:59.000000000Z" } })
  end)

  it("makes any text harmless for a terminal", function()
    each(format.clean, { { "a\27[31mb\n", "a?[31mb?" }, { "é→", "é→" }, { "\194\155x", "?x" },
      { "\255\254", "��" },
      { "\224\128\128", "���" }, { "\240\159\152\128", "\240\159\152\128" }, { "\237\160\128",
        "���" }, { 7, "7" } })
  end)

  it("counts columns and cuts at them", function()
    assert.equal(3, format.width "a→é")
    assert.equal("a→é", format.cut("a→é", 3))
    assert.equal("a…", format.cut("a→éx", 2))
    assert.equal("→é…", format.cut("→éxyz", 3))
    assert.equal("", format.cut("abc", 0))
    assert.equal("a...", format.cut("abcdefgh", 4, "..."))
    assert.equal("ab", format.cut("abcdefgh", 2, "..."))
  end)

  it("draws bars between nothing and the peak", function()
    assert.equal("▁▁▄█", (format.spark({ 0, 1, 4, 8 }, 10)))
    assert.same({ "▄█", 8 }, { format.spark({ 100, 4, 8 }, 2) })
    assert.same({ "__", 0 }, { format.spark({ 0, 0 }, 8, true) })
    assert.same({ "", 0 }, { format.spark({}, 8) })
  end)

  it("aligns tables and says which columns did not fit", function()
    local columns = { { title = "src" }, { title = "packets/s", right = true }, { title = "share",
      right = true } }
    local rows = { { "172.16.0.5", "18,778", "99%" }, { "é", "1" } }
    local lines, hidden = format.table(columns, rows, 80)
    assert.same({ "src         packets/s  share", "172.16.0.5     18,778    99%", "é                   1" },
      lines)
    assert.same({}, hidden)
    lines, hidden = format.table(columns, rows, 27)
    assert.same({ "src         packets/s", "172.16.0.5     18,778", "é                   1" }, lines)
    assert.same({ "share" }, hidden)
    lines, hidden = format.table(columns, rows, 6)
    assert.same({ "src", "172.1…", "é" }, lines)
    assert.same({ "packets/s", "share" }, hidden)
  end)

  it("reads keys as people write them", function()
    local row = { src = "10.0.0.1", dst = "2001:db8::1", sport = 80, dport = 443, proto = 6, vlan = 7 }
    assert.equal("10.0.0.1:80 → [2001:db8::1]:443 tcp", format.key(row, { "src", "dst", "sport", "dport",
      "proto" }))
    assert.equal("10.0.0.1 → 2001:db8::1", format.key(row, { "src", "dst" }))
    assert.equal("2001:db8::1", format.key(row, { "dst" }))
    assert.equal("vlan 7 dport 443", format.key(row, { "vlan", "dport" }))
    assert.equal("10.0.0.1 -> 2001:db8::1", format.key(row, { "src", "dst" }, "->"))
    assert.equal("all", format.key(row, {}))
  end)
end)
