-- SPDX-License-Identifier: Apache-2.0
-- Plain values as text and back.
local pack = require "perilune.base.pack"

local function round(value)
  local back, message = pack.decode(assert(pack.encode(value)))
  assert.is_nil(message)
  return back
end

describe("packed values", function()
  it("come back as they were", function()
    for _, value in ipairs { 0, 1, -1, 0.1, 1 / 3, 2 ^ 53, -2 ^ 53 - 2, 1e300, 5e-324, 1e15, 123456789012345.5, "", "a", "5:b",
      ("\0\255\n"):rep(3), true, false, {}, { 1, 2, { 3 } }, { a = { b = { c = "d" } } }, { [1] = "x", [3] = "y", ["1"] = "z" },
      { [-2.5] = 1 }, math.huge, -math.huge } do
      assert.same(value, round(value))
    end
    local nan = round(0 / 0)
    assert.is_true(nan ~= nan)
  end)

  it("are the same text for the same value, whatever the order they were made in", function()
    local a, b = {}, {}
    for i = 1, 50 do a["k" .. i] = i end
    for i = 50, 1, -1 do b["k" .. i] = i end
    assert.equal(pack.encode(a), pack.encode(b))
    assert.equal("{#2;T3:abc[#1;1:x]}", pack.encode { abc = { 1, "x" }, [2] = true })
  end)

  it("refuse what is not plain, or too much", function()
    local circle = {}
    circle.itself = circle
    local deep = {}
    for _ = 1, 40 do deep = { deep } end
    for expected, value in pairs {
      ["it holds a function"] = { print }, ["a table in it holds itself"] = circle, ["it is nested more than 32 deep"] = deep,
      ["a table in it is no plain table"] = { setmetatable({}, {}) }, ["a key is a table"] = { [{}] = 1 },
    } do
      local text, message = pack.encode(value)
      assert.is_nil(text)
      assert.equal(expected, message)
    end
    assert.same({ nil, "it takes more than 10 bytes" }, { pack.encode(("x"):rep(9), 10) })
    assert.equal("7:xxxxxxx", pack.encode(("x"):rep(7), 10))
    local twice = { 1 }
    assert.same({ a = twice, b = twice }, round { a = twice, b = twice })
  end)

  it("are not read from what is none", function()
    local good = pack.encode { a = { 1, "two", true }, b = { c = 0.5 } }
    for i = 1, #good - 1 do assert.is_nil((pack.decode(good:sub(1, i)))) end
    for _, text in ipairs { "", "x", "5:ab", "#;", "#1", "#x;", "[", "{#1;}", "{[]T}", "TT", "{T#1;}", "99999999999999999999:a",
      ("["):rep(100000), "#os.exit();" } do
      assert.is_nil((pack.decode(text)), text)
    end
  end)
end)

describe("sealed values", function()
  it("say what they are, and whether they are whole", function()
    local sealed = pack.seal("baseline", 2, { 1, 2 })
    assert.same({ 1, 2 }, pack.unseal("baseline", 2, sealed))
    assert.same({ nil, "its format is version 2, not 3" }, { pack.unseal("baseline", 3, sealed) })
    assert.same({ nil, "it holds baseline, not state" }, { pack.unseal("state", 2, sealed) })
    assert.same({ nil, "it is damaged" }, { pack.unseal("baseline", 2, sealed:gsub("#2", "#3")) })
    assert.same({ nil, "it is damaged" }, { pack.unseal("baseline", 2, sealed .. " ") })
    assert.same({ nil, "it is not of perilune's making" }, { pack.unseal("baseline", 2, "hello") })
  end)

  it("have the checksum that others compute", function() -- the check value of CRC-32/ISO-HDLC
    assert.equal("cbf43926", pack.crc "123456789")
    assert.equal("00000000", pack.crc "")
  end)
end)
