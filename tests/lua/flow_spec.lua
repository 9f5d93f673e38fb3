-- SPDX-License-Identifier: Apache-2.0
-- Flows as text: as records make it, and as people may write it.
local flow = require "perilune.records.flow"

describe("a flow", function()
  it("is one text", function()
    assert.equal("10.0.0.1:40000 > 10.0.0.2:443 tcp", flow.text({ "10.0.0.1", "10.0.0.2", "40000", "443", "tcp" }, false))
    assert.equal("[fd00::1]:53 <> [fd00::2]:9 udp", flow.text({ "fd00::1", "fd00::2", "53", "9", "udp" }, true))
    assert.equal("10.0.0.1:0 > 10.0.0.2:9 254", flow.text({ "10.0.0.1", "10.0.0.2", "0", "9", "254" }, false))
    assert.equal("fd00::1 > fd00::2 ipv6-icmp", flow.text({ "fd00::1", "fd00::2", "0", "0", "ipv6-icmp" }, false))
  end)

  it("is that text however it was written", function()
    for written, text in pairs {
      ["  10.0.0.1:4  >  10.0.0.2:3 TCP "] = "10.0.0.1:4 > 10.0.0.2:3 tcp",
      ["[FD00:0:0::1]:04 > [fd00::2]:3 udp"] = "[fd00::1]:4 > [fd00::2]:3 udp",
      ["[fd00::1] > fd00::2 58"] = "fd00::1 > fd00::2 58", ["10.0.0.1 > 10.0.0.2:3 udp"] = "10.0.0.1:0 > 10.0.0.2:3 udp",
      ["10.0.0.1 > 10.0.0.2 icmp"] = "10.0.0.1 > 10.0.0.2 icmp",
    } do
      assert.equal(text, flow.canonical(written, false), written)
    end
  end)

  it("of both ways begins with the lower end", function()
    for _, ends in ipairs {
      { "10.0.0.1:4", "10.0.0.2:3" }, { "10.0.0.1:3", "10.0.0.1:4" }, { "9.0.0.1:3", "10.0.0.1:2" },
      { "[fd00::1]:5", "[fd00::a]:4" }, { "[9::1]:5", "[fd00::a]:4" }, { "1.2.3.4:7", "1.2.3.4:7" },
    } do
      local text = ends[1] .. " <> " .. ends[2] .. " udp"
      assert.equal(text, flow.canonical(text, true))
      assert.equal(text, flow.canonical(ends[2] .. " <> " .. ends[1] .. " udp", true))
    end
  end)

  it("is none when something is wrong", function()
    for _, wrong in ipairs {
      "", "10.0.0.1:4 > 10.0.0.2:3", "10.0.0.1:4 10.0.0.2:3 tcp", "10.0.0.1:4 < 10.0.0.2:3 tcp", "10.0.0.1:4 > 10.0.0.2:65536 tcp",
      "10.0.0.1:4 > 10.0.0.2:3 tcp x", "10.0.0.1:4 > [fd00::1]:3 tcp", "10.0.0.256:4 > 10.0.0.2:3 tcp", "fd00::1:4 > here tcp",
      "10.0.0.1: > 10.0.0.2:3 tcp", "[10.0.0.1:4 > 10.0.0.2:3 tcp", "10.0.0.1:4 <> 10.0.0.2:3 tcp",
    } do
      assert.is_nil(flow.canonical(wrong, false), wrong)
    end
    assert.is_nil(flow.canonical("10.0.0.1:4 > 10.0.0.2:3 tcp", true))
  end)

  it("is in keys that have its fields, whatever else they have", function()
    assert.is_true(flow.in_key { "src", "dst", "sport", "dport", "vlan", "proto" })
    assert.is_false(flow.in_key { "src", "dst", "sport", "dport" })
    assert.is_false(flow.in_key(nil))
  end)
end)
