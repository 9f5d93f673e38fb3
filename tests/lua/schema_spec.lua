-- SPDX-License-Identifier: Apache-2.0
local schema = require "perilune.base.schema"

local SET = schema.new {
  what = "set",
  keys = {
    max = { type = "count", required = true, min = 1, max = 1000, help = "like max = 64" },
    ttl = { type = "duration" }, window = { type = "duration", default = 1 },
    of = { type = "text", one_of = { "src", "dst" } }, deep = { type = "bool", default = false },
    even = { type = function(value)
      if value % 2 == 0 then return value end
      return nil, "expected an even number", "like 2"
    end },
  },
}

local function complaint(body, spec)
  local values, message, remedy = (spec or SET):parse(body)
  assert.is_nil(values)
  return message .. (remedy and " (" .. remedy .. ")" or "")
end

describe("schema", function()
  it("reads values, units and defaults", function()
    local values, items = SET:parse { max = 64, ttl = "5m", of = "src", even = 4 }
    assert.same({ max = 64, ttl = 300, window = 1, of = "src", deep = false, even = 4 }, values)
    assert.same({}, items)
  end)

  it("names the nearest known key", function()
    assert.equal('set has no key "ttll" (did you mean "ttl"?)', complaint { max = 1, ttll = "5m" })
    assert.equal('set has no key "colour" (known: deep, even, max, of, ttl, window)', complaint { max = 1, colour = 1 })
    assert.matches("set has no key true", complaint { max = 1, [true] = 1 })
  end)

  it("names what is missing, out of bounds or of the wrong type", function()
    assert.equal("set lacks max (like max = 64)", complaint {})
    assert.equal("set: max: 0 is too small (at least 1)", complaint { max = 0 })
    assert.equal("set: max: 5,000 is too large (at most 1,000)", complaint { max = 5000 })
    assert.equal("set: max: expected a whole number, got 1.5", complaint { max = 1.5 })
    assert.equal('set: ttl: expected a duration, got 300, which is a count (write it like "10s")', complaint { max = 1, ttl = 300 })
    assert.equal('set: deep: expected true or false, got "yes"', complaint { max = 1, deep = "yes" })
    assert.equal('set: of: unknown value "srk" (did you mean "src"? one of "src", "dst")', complaint { max = 1, of = "srk" })
    assert.equal("set: even: expected an even number (like 2)", complaint { max = 1, even = 3 })
    assert.equal("set needs a body, got a nil (write { … } after it)", complaint(nil))
  end)

  it("takes unnamed entries only where they belong", function()
    assert.matches("takes no unnamed entries", complaint { max = 1, "x" })
    local list = schema.new { what = "level", keys = {}, items = { type = "text" } }
    assert.same({ "a", "b" }, select(2, list:parse { "a", "b" }))
    assert.matches('entry 2 of level: expected a text, got a number', complaint({ "a", 2 }, list))
    assert.matches("an unnamed entry of level is nil", complaint({ "a", nil, "c" }, list))
  end)

  it("refuses a declaration of an unknown type", function()
    assert.has_error(function() schema.new { what = "x", keys = { a = { type = "fish" } } } end)
  end)
end)
