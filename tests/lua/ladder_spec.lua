-- SPDX-License-Identifier: Apache-2.0
local ladder = require "perilune.ladder"

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
      from = "calm", to = "siege", rule = "victim", held_by = { "victim 10.0.0.1", "victim 10.0.0.2" }, capped_by = {},
      reason = "siege held by victim 10.0.0.1, victim 10.0.0.2",
    }, l:step { now = 1, holds = { alert = { "surge" }, siege = { "victim 10.0.0.1", "victim 10.0.0.2" } } })
    assert.is_nil(l:step { now = 2, holds = { siege = { "victim 10.0.0.1" } } })
  end)

  it("comes down level by level as holds end", function()
    local l = three()
    l:step { now = 1, holds = { alert = { "surge" }, siege = { "victim 10.0.0.1" } } }
    local down = l:step { now = 2, holds = { alert = { "surge" } } }
    assert.equal("siege is no longer held, alert held by surge", down.reason)
    assert.equal("surge", down.rule)
    down = l:step { now = 3, holds = {} }
    assert.equal("calm", down.to)
    assert.equal("alert is no longer held", down.reason)
    assert.is_nil(down.rule)
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
end)
