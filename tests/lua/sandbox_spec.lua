-- SPDX-License-Identifier: Apache-2.0
-- What a policy's functions may do with the records they are given.
local HERE = debug.getinfo(1, "S").source:match("^@(.*)/[^/]*$") or "."
local fake = dofile(HERE .. "/fake_templates.lua")
local policy = require "perilune.policy"

describe("the sandbox", function()
  local function condition(body)
    local decl = assert(policy.load {
      source = [[
        local p = flows "p" { key = "src" }
        return policy "x" { always = { p }, rules = { rule "r" { when = function(w) ]] .. body .. [[ end, act = { log } } } }
      ]], name = "x.lua", set = {}, templates = fake,
    })
    return decl.rules[1].when.fn
  end

  it("walks over records by __ipairs and rows by __pairs", function()
    local records = setmetatable({}, { __ipairs = function() return ipairs { "a", "b" } end,
      __pairs = function() return pairs { src = "10.0.0.1" } end })
    assert.equal(2, condition "local n = 0 for _ in ipairs(w) do n = n + 1 end return n" (records))
    assert.equal("src", condition "for k in pairs(w) do return k end" (records))
  end)

  it("leaves plain tables as they are", function()
    assert.equal(6, condition "local n = 0 for _, v in ipairs(w) do n = n + v end return n" { 1, 2, 3 })
    assert.equal("k", condition "for k in pairs(w) do return k end" { k = 1 })
  end)
end)
