-- SPDX-License-Identifier: Apache-2.0
local net = require "perilune.base.net"

describe("an address", function()
  it("has one text, as inet_ntop writes it", function()
    for written, text in pairs {
      ["10.0.0.1"] = "10.0.0.1", ["010.0.0.01"] = "10.0.0.1", ["FD77:0::4"] = "fd77::4", ["::"] = "::", ["::1"] = "::1",
      ["1:0:0:2:0:0:0:3"] = "1:0:0:2::3", ["1:0:2:3:4:5:6:7"] = "1:0:2:3:4:5:6:7", ["1:0:0:2:3:0:0:4"] = "1::2:3:0:0:4",
      ["1::"] = "1::", ["0:0:0:0:0:0:0102:0304"] = "::1.2.3.4", ["::ffff:1.2.3.4"] = "1.2.3.4", ["2001:0DB8::0001"] = "2001:db8::1",
    } do
      assert.equal(text, net.canonical(written), written)
    end
  end)

  it("with a prefix has no bits behind it, and none is an address alone", function()
    for written, text in pairs {
      ["10.1.2.3/8"] = "10.0.0.0/8", ["10.1.2.3/32"] = "10.1.2.3", ["10.1.2.255/25"] = "10.1.2.128/25", ["1.2.3.4/0"] = "0.0.0.0/0",
      ["fd77::4/127"] = "fd77::4/127", ["fd77::5/127"] = "fd77::4/127", ["fd77::5/128"] = "fd77::5", ["2001:db8:1::/33"] = "2001:db8::/33",
      ["ffff::1/0"] = "::/0",
    } do
      assert.equal(text, net.canonical(written), written)
    end
  end)

  it("is none when it cannot be one", function()
    for _, wrong in ipairs { "", "10.0.0", "10.0.0.256", "10.0.0.0/33", "fd77::/129", "everyone", "1:2", "10.0.0.0/", "/8", "1::2::3" } do
      assert.is_nil(net.canonical(wrong), wrong)
    end
  end)
end)

describe("a list of networks", function()
  local function matches(list, address) return assert(net.matcher(list))(address) end

  it("holds addresses of its prefix and no others", function()
    for _, case in ipairs {
      { "10.0.0.0/8", "10.0.0.0", true }, { "10.0.0.0/8", "10.255.255.255", true }, { "10.0.0.0/8", "11.0.0.0", false },
      { "10.0.0.0/8", "9.255.255.255", false }, { "192.168.4.0/22", "192.168.7.255", true },
      { "192.168.4.0/22", "192.168.8.0", false }, { "192.168.4.0/22", "192.168.3.255", false },
      { "10.1.2.3/31", "10.1.2.2", true }, { "10.1.2.3/31", "10.1.2.4", false }, { "10.1.2.3/32", "10.1.2.3", true },
      { "10.1.2.3/32", "10.1.2.2", false }, { "10.1.2.3", "10.1.2.3", true }, { "10.1.2.3", "10.1.2.2", false },
      { "0.0.0.0/0", "255.255.255.255", true }, { "128.0.0.0/1", "127.255.255.255", false }, { "128.0.0.0/1", "128.0.0.0", true },
      { "10.20.0.0/16", "10.20.255.255", true }, { "10.20.0.0/17", "10.20.128.0", false },
      { "2001:db8::/32", "2001:db8:ffff::1", true }, { "2001:db8::/32", "2001:db9::", false },
      { "2001:db8::/33", "2001:db8:7fff::1", true }, { "2001:db8::/33", "2001:db8:8000::1", false },
      { "fe80::/10", "febf::1", true }, { "fe80::/10", "fec0::1", false }, { "::/0", "ffff::", true },
      { "::1/128", "::1", true }, { "::1", "::2", false }, { "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8", true },
      { "1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0", true }, { "::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8", true },
      { "2001:DB8::/32", "2001:db8::1", true },
    } do
      assert.equal(case[3], matches(case[1], case[2]), case[1] .. " " .. case[2])
    end
  end)

  it("keeps the two families apart", function()
    assert.is_false(matches("0.0.0.0/0", "::1"))
    assert.is_false(matches("::/0", "10.0.0.1"))
    assert.is_false(matches("10.0.0.0/8", "no address"))
  end)

  it("is separated by commas or spaces", function()
    for _, list in ipairs { "10.0.0.0/8,fd00::/8", "10.0.0.0/8, fd00::/8", "10.0.0.0/8 fd00::/8", ",10.0.0.0/8,,fd00::/8," } do
      assert.is_true(matches(list, "10.1.1.1"))
      assert.is_true(matches(list, "fd12::1"))
      assert.is_false(matches(list, "192.0.2.1"))
    end
  end)

  it("says what is no network", function()
    for _, wrong in ipairs { "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.256", "300.1.1.1", "10.0.0.0/8/9", "10.0.0.0/x", "eth0",
      "1:2:3", "1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", ":::", "10.0.0.1.2", "::ffff:10.0.0.1", "/8", "" } do
      local matcher, message = net.matcher(wrong)
      assert.is_nil(matcher, wrong)
      assert.equal("string", type(message))
    end
    local _, message = net.matcher "10.0.0.0/8,home"
    assert.truthy(message:find("home is not a network", 1, true))
    _, message = net.matcher "10.0.0.0/40"
    assert.truthy(message:find("32 bits", 1, true))
  end)
end)
