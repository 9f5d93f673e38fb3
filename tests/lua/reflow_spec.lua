-- SPDX-License-Identifier: Apache-2.0
local reflow = require "perilune.base.reflow"

local HELP = [[
Runs what it is given, and goes on until it is told to end by somebody.
Short.

  --set NAME=VALUE  sets an option of the policy, which
                    declares it
  --for TIME        ends then

  return policy "x" {
    window = "1s",
  }]]

local function widest(text)
  local most = 0
  for line in (text .. "\n"):gmatch "(.-)\n" do
    most = math.max(most, select(2, line:gsub("[^\128-\191]", "")))
  end
  return most
end

local function words(text)
  return (text:gsub("%s+", " "))
end

describe("help on a narrow terminal", function()
  it("stays as it is where there is room", function() assert.same(HELP, reflow.text(HELP, 100)) end)

  it("keeps every word, and goes on under what it belongs to", function()
    local text = reflow.text(HELP, 44)
    assert.same(words(HELP), words(text))
    assert.is_true(widest(text) <= 44)
    assert.truthy(text:find("\n  --set NAME=VALUE  sets an option of the\n" .. (" "):rep(20) .. "policy, which declares\n",
      1, true))
    assert.truthy(text:find('\n  return policy "x" {\n    window = "1s",\n  }', 1, true))
  end)

  it("breaks a usage line between brackets", function()
    local text = reflow.usage("usage: perilune run POLICY.lua \226\128\166 [--set NAME=VALUE]\226\128\166 [--pin [--upgrade]] [--json]", 40)
    assert.same("usage: perilune run POLICY.lua \226\128\166\n          [--set NAME=VALUE]\226\128\166\n"
      .. "          [--pin [--upgrade]] [--json]", text)
  end)

  it("does not give up on a word that is too long", function()
    assert.same("a\n" .. ("b"):rep(30) .. "\nc", reflow.text("a " .. ("b"):rep(30) .. " c", 25))
  end)
end)
