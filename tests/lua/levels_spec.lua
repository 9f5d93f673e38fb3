-- SPDX-License-Identifier: Apache-2.0
local levels = require "perilune.engine.levels"

describe("a lease", function()
  it("is renewed as of now, but not beyond the longest that its level may last", function()
    local l = levels.new { { name = "calm" }, { name = "siege", lease = 30, longest = 600 } }
    assert.equal(50, l:renewed(50))
    l:judge(100, { siege = { "victim" } }, {})
    assert.equal(100, l:renewed(100))
    assert.equal(670, l:renewed(670))
    assert.equal(670, l:renewed(699)) -- and ends at 700, when the level does
    assert.equal(700, l:due())
  end)

  it("of a level that has only a longest is as long, and begins with it", function()
    local l = levels.new { { name = "calm" }, { name = "siege", lease = 600, longest = 600 } }
    l:judge(100, { siege = { "victim" } }, {})
    assert.equal(100, l:renewed(100))
    assert.equal(100, l:renewed(400))
  end)
end)
