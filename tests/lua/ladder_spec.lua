-- SPDX-License-Identifier: Apache-2.0
local ladder = require "perilune.engine.ladder"

local function three(longest)
  return ladder.new { { name = "calm" }, { name = "alert" }, { name = "siege", longest = longest } }
end

describe("the ladder", function()
  it("starts at the first level and stays", function()
    local l = three()
    assert.equal("calm", l:level())
    assert.equal(1, l:index())
    assert.is_nil(l:step { now = 0, holds = {} })
  end)

  it("goes to the highest level held, at once", function()
    local l = three()
    assert.same({
      from = "calm", to = "siege", held = "siege", held_by = { "victim 10.0.0.1", "victim 10.0.0.2" }, capped_by = {},
      reason = "siege held by victim 10.0.0.1, victim 10.0.0.2",
    }, l:step { now = 1, holds = { alert = { "surge" }, siege = { "victim 10.0.0.1", "victim 10.0.0.2" } } })
    assert.is_nil(l:step { now = 2, holds = { siege = { "victim 10.0.0.1" } } })
  end)

  it("comes down level by level as holds end", function()
    local l = three()
    l:step { now = 1, holds = { alert = { "surge" }, siege = { "victim 10.0.0.1" } } }
    local down = l:step { now = 2, holds = { alert = { "surge" } } }
    assert.equal("siege is no longer held, alert held by surge", down.reason)
    down = l:step { now = 3, holds = {} }
    assert.equal("calm", down.to)
    assert.equal("alert is no longer held", down.reason)
    assert.equal("calm", down.held)
    assert.same({}, down.held_by)
  end)

  it("leaves a level after its longest, and does not come back until its holders have cleared", function()
    local l = three(600)
    local holds = { alert = { "surge" }, siege = { "victim a", "victim b" } }
    l:step { now = 10, holds = holds }
    assert.is_nil(l:step { now = 609.9, holds = holds })
    local down = l:step { now = 610, holds = holds }
    assert.equal("alert", down.to)
    assert.equal("siege lasted 10m, the longest it may, alert held by surge", down.reason)
    assert.is_nil(l:step { now = 611, holds = holds })
    assert.is_nil(l:step { now = 612, holds = { alert = { "surge" }, siege = { "victim b", "victim c" } } })
    assert.is_nil(l:step { now = 613, holds = { alert = { "surge" }, siege = { "victim a", "victim b" } } })
    local up = l:step { now = 614, holds = { alert = { "surge" }, siege = { "victim a", "victim c" } } }
    assert.equal("siege", up.to)
  end)

  it("falls to the first level when only the overstayed one is held", function()
    local l = three(60)
    l:step { now = 0, holds = { siege = { "victim a" } } }
    local down = l:step { now = 60, holds = { siege = { "victim a" } } }
    assert.equal("calm", down.to)
    assert.equal("siege lasted 1m, the longest it may", down.reason)
    assert.is_nil(l:step { now = 200, holds = { siege = { "victim a" } } })
    assert.is_nil(l:step { now = 201, holds = {} })
    assert.equal("siege", l:step({ now = 202, holds = { siege = { "victim a" } } }).to)
    assert.is_nil(l:step { now = 261, holds = { siege = { "victim a" } } })
    assert.equal("calm", l:step({ now = 262, holds = { siege = { "victim a" } } }).to)
  end)

  it("keeps its reasons short and its lists whole", function()
    local l, many = three(), {}
    for i = 1, 10000 do many[i] = "victim " .. i end
    local up = l:step { now = 0, holds = { siege = many } }
    assert.equal("siege held by victim 1 and 9999 more", up.reason)
    assert.equal(10000, #up.held_by)
    assert.are_not.equal(many, up.held_by)
  end)

  it("is never above the lowest cap, and says who holds what it keeps out of", function()
    local l = three()
    local holds = { alert = { "surge" }, siege = { "victim a" } }
    assert.same({
      from = "calm", to = "alert", held = "siege", held_by = { "victim a" }, capped_by = { "budget" },
      reason = "siege held by victim a, capped at alert by budget", limit = "capped at alert by budget",
    }, l:step { now = 0, holds = holds, caps = { alert = { "budget" }, siege = { "pin" } } })
    local down = l:step { now = 1, holds = holds, caps = { calm = { "schedule night" }, alert = { "budget" } } }
    assert.same({ "alert", "calm", { "schedule night" }, { "victim a" } }, { down.from, down.to, down.capped_by, down.held_by })
    assert.equal("siege held by victim a, capped at calm by schedule night", down.reason)
    local up = l:step { now = 2, holds = holds, caps = {} }
    assert.same({ "siege", {} }, { up.to, up.capped_by })
    assert.equal("no longer capped at calm by schedule night, siege held by victim a", up.reason)
    assert.is_nil(up.limit)
  end)

  it("lists a cap at the level that it enters, which a pin has, and none that is higher", function()
    local l = three()
    local up = l:step { now = 0, holds = { alert = { "pin" } }, caps = { alert = { "pin" }, siege = { "budget" } } }
    assert.same({ "alert", { "pin" }, { "pin" } }, { up.to, up.held_by, up.capped_by })
    assert.equal("alert held by pin", up.reason)
    local down = l:step { now = 1, holds = {}, caps = { siege = { "budget" } } }
    assert.same({ "calm", {}, {} }, { down.to, down.held_by, down.capped_by })
  end)

  it("does not move for a cap above what is held, nor for one at the first level", function()
    local l = three()
    assert.is_nil(l:step { now = 0, holds = {}, caps = { calm = { "budget" } } })
    assert.is_nil(l:step { now = 1, holds = { siege = { "victim" } }, caps = { calm = { "budget" } } })
    assert.equal("alert", l:step({ now = 2, holds = { alert = { "surge" } }, caps = { siege = { "budget" } } }).to)
  end)

  it("counts a level's longest though it is only there because of a cap", function()
    local l = ladder.new { { name = "calm" }, { name = "alert", longest = 60 }, { name = "siege" } }
    local holds, caps = { siege = { "victim a" } }, { alert = { "budget" } }
    assert.equal("alert", l:step({ now = 0, holds = holds, caps = caps }).to)
    assert.equal(60, l:due())
    assert.equal("calm", l:step({ now = 60, holds = holds, caps = caps }).to)
    assert.is_nil(l:step { now = 61, holds = holds, caps = caps })
    assert.equal("siege", l:step({ now = 62, holds = holds, caps = {} }).to)
    assert.is_nil(l:due())
  end)

  it("lets a holder who asks anew into a level that it has overstayed", function()
    local l = three(60)
    l:step { now = 0, holds = { siege = { "pin" } } }
    assert.equal("calm", l:step({ now = 60, holds = { siege = { "pin" } } }).to)
    assert.is_nil(l:step { now = 61, holds = { siege = { "pin" } } })
    l:let_off "pin"
    assert.equal("siege", l:step({ now = 62, holds = { siege = { "pin" } } }).to)
  end)

  it("ends a level at the very moment that it says", function()
    for _, start in ipairs { 0.1, 0.7, 1e9 + 0.1, 12345.678901 } do
      local l = three(0.3)
      local holds = { siege = { "victim" } }
      l:step { now = start, holds = holds }
      assert.equal("calm", l:step({ now = l:due(), holds = holds }).to)
    end
  end)
end)
