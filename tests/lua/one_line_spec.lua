-- SPDX-License-Identifier: Apache-2.0
local args = require "perilune.args"
local one_line = require "perilune.policy.one_line"

local SPEC = { ["-e"] = "eval", eval = "policy", json = "flag", ["-f"] = "follow", follow = "flag", ["for"] = "text" }

describe("a policy on the command line", function()
  it("goes before files, several in their order", function()
    local parsed = assert(args.parse(SPEC, { "x.pcap", "-e", "a {}", "--json", "-e", "b {}" }))
    assert.same({ "-e a {}", "-e b {}", "x.pcap" }, { parsed[1], parsed[2], parsed[3] })
    assert.is_true(parsed.eval)
    assert.is_true(one_line.is(parsed[1]))
    assert.is_false(one_line.is(parsed[3]))
    assert.is_nil((args.parse(SPEC, { "-e" })))
  end)

  it("is a policy, or probes that become one, and lines stay what they are", function()
    local function source(text) return one_line.spec(one_line.word(text)).source end
    assert.equal('return policy "x" {\n}', source 'policy "x" {\n}')
    assert.equal('local a = 1 return policy "x" {}', source 'local a = 1 return policy "x" {}')
    local watched = source 'flows { key = "src" },\ncounter {}'
    assert.truthy(loadstring(watched))
    assert.equal(2, select(2, watched:gsub("\n", "\n")) + 1)
    assert.truthy(watched:find('always = { flows { key = "src" },\ncounter {} }', 1, true))
    assert.equal("local x = 1", source "local x = 1")
    assert.equal("-e", one_line.spec(one_line.word "x").file)
  end)
end)

describe("short options", function()
  it("stand for long ones, and others are refused", function()
    assert.is_true(assert(args.parse(SPEC, { "-f" })).follow)
    local _, message = args.parse(SPEC, { "-x" })
    assert.truthy(message:find("there is no option -x", 1, true))
    _, message = args.parse(SPEC, { "--fillow" })
    assert.truthy(message:find('did you mean "follow"', 1, true), message)
  end)

  it("of time are read in one place", function()
    assert.equal(600, args.duration({ ["for"] = "10m" }, "for"))
    assert.is_nil((args.duration({}, "for")))
    local seconds, message = args.duration({ ["for"] = "soon" }, "for")
    assert.is_nil(seconds)
    assert.truthy(message:find("--for soon", 1, true))
  end)
end)
