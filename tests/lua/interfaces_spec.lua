-- SPDX-License-Identifier: Apache-2.0
local interfaces = require "perilune.base.interfaces"

describe("names of interfaces", function()
  local function matches(list, name) return interfaces.matcher(list)(name) end

  it("match themselves, to the letter", function()
    assert.is_true(matches({ "eth0", "wan" }, "wan"))
    assert.is_false(matches({ "eth0" }, "eth01"))
    assert.is_false(matches({ "eth0" }, "xeth0"))
    assert.is_true(matches({ "a.1-b%c" }, "a.1-b%c"))
    assert.is_false(matches({ "a.1" }, "ax1"))
  end)

  it("are globs as a shell has them", function()
    assert.is_true(matches({ "veth*" }, "veth"))
    assert.is_true(matches({ "veth*" }, "veth1a2b"))
    assert.is_false(matches({ "veth*" }, "my-veth1"))
    assert.is_true(matches({ "*" }, "lo"))
    assert.is_true(matches({ "br-?" }, "br-1"))
    assert.is_false(matches({ "br-?" }, "br-"))
    assert.is_true(matches({ "w[0-3]*" }, "w2x"))
    assert.is_false(matches({ "w[0-3]" }, "w4"))
    assert.is_true(matches({ "w[!0-3]" }, "w4"))
    assert.is_false(matches({ "w[!0-3]" }, "w0"))
    assert.is_true(matches({ "w[]x]" }, "w]"))
    assert.is_true(matches({ "w[a%^]" }, "w%"))
    assert.is_true(matches({ "e.*" }, "e.5"))
    assert.is_false(matches({ "e.*" }, "ex5"))
  end)

  it("may be several in one text", function()
    assert.same({ "eth0", "veth*" }, interfaces.parse "eth0,veth*")
    assert.same({ "eth0" }, interfaces.parse "eth0")
  end)

  it("are refused when no interface can have them", function()
    for _, text in ipairs { "", "a b", "a/b", "a:b", ",eth0", "eth0,", "sixteen-letters-", "w[0-3", ".", ("x*"):rep(40), 5 } do
      local list, message = interfaces.parse(text)
      assert.is_nil(list)
      assert.is_string(message)
    end
  end)
end)
