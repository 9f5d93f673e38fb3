-- SPDX-License-Identifier: Apache-2.0
-- Patterns of bytes: what is understood, what is said about mistakes, and what C sees of them.
local patterns = require "perilune.probe.patterns"
local plan = require "perilune.build.plan"
local policy = require "perilune.policy"
local template = require "perilune.probe.template"

local function complaint(value)
  local list, message, remedy = patterns.parse(value)
  assert.is_nil(list)
  return message .. (remedy and " (" .. remedy .. ")" or "")
end

describe("patterns", function()
  it("are texts and hex, at an offset or within a number of bytes", function()
    assert.same({ { bytes = "GET ", at = 0 } }, patterns.parse "GET ")
    assert.same({
      { bytes = "GET ", at = 0 }, { bytes = "\22\3", at = 0 }, { bytes = "evil", within = 256 }, { bytes = "\0\255", at = 9 },
      { bytes = "x", at = 1023 }, { bytes = "x", within = 1024 },
    }, patterns.parse {
      "GET ", { hex = "16 03" }, { "evil", within = 256 }, { hex = "00:fF", at = 9 }, { "x", at = 1023 }, { "x", within = 1024 },
    })
  end)

  it("that cannot be are refused with the reason", function()
    for expected, value in pairs {
      ["expected patterns, got a number"] = 5,
      ["0 patterns (from 1 to 16)"] = {},
      ["17 patterns (from 1 to 16)"] = { "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "" },
      ['unknown key "within" (patterns is a list, and a pattern with more than a text a table in it'] = { "evil", within = 9 },
      ["pattern 2: expected a text, got a number"] = { "a", 5 },
      ["pattern 1: expected a text, got a nil"] = { nil, "a" },
      ["pattern 1: expected a text or hex"] = { { at = 4 } },
      ["pattern 1: a text or hex, not both"] = { { "a", hex = "61" } },
      ['pattern 1: "6" are no bytes in hex (like hex = "1603 01")'] = { { hex = "6" } },
      ['pattern 1: "6g" are no bytes in hex'] = { { hex = "6g" } },
      ["pattern 1: 66 are no bytes in hex"] = { { hex = 66 } },
      ["pattern 1: 0 bytes (a pattern has 1 to 16)"] = { "" },
      ["pattern 1: 17 bytes (a pattern has 1 to 16)"] = { ("x"):rep(17) },
      ["pattern 1: at or within, not both"] = { { "a", at = 0, within = 4 } },
      ['pattern 1: unknown key "whitin" (did you mean "within"?)'] = { { "a", whitin = 4 } },
      ["pattern 1: at: -1 is no number of bytes (from 0 to 1024)"] = { { "a", at = -1 } },
      ['pattern 1: at: "4" is no number of bytes'] = { { "a", at = "4" } },
      ["pattern 1: at: 1.5 is no number of bytes"] = { { "a", at = 1.5 } },
      ["pattern 1: it ends behind byte 1024 (what is further back is not read)"] = { { "ab", at = 1023 } },
      ["pattern 1: within: 3 is no number of bytes (from 4 to 1024)"] = { { "evil", within = 3 } },
      ["pattern 1: within: 1025 is no number of bytes"] = { { "evil", within = 1025 } },
    } do
      local said = complaint(value)
      assert.equal(expected, said:sub(1, #expected))
    end
  end)

  it("are numbers and masks of the 16 bytes that end with them", function()
    local function defines(value) return patterns.defines("KNOB_p", assert(patterns.parse(value))) end
    assert.same({
      { "KNOB_p(X)", "X(0, 0x0000000000000000ULL, 0x0000000000000000ULL, 0x0000000047455420ULL, 0x00000000ffffffffULL, 3, 0)" },
      { "KNOB_p_count", "1" }, { "KNOB_p_reach", "4" },
    }, defines "GET ")
    local both = defines { { "123456789", at = 2 }, { hex = "00", within = 30 } }
    assert.equal("X(0, 0x0000000000000031ULL, 0x00000000000000ffULL, 0x3233343536373839ULL, 0xffffffffffffffffULL, 10, 0) "
      .. "X(1, 0x0000000000000000ULL, 0x0000000000000000ULL, 0x0000000000000000ULL, 0x00000000000000ffULL, 0, 29)", both[1][2])
    assert.same({ { "KNOB_p_count", "2" }, { "KNOB_p_reach", "30" } }, { both[2], both[3] })
  end)

  it("are shown as they are written", function()
    local text = [[{ "GET ", { hex = "160301" }, { "a\"b", at = 4 }, { hex = "00ff", within = 9 } }]]
    local value = assert(loadstring("return " .. text))()
    assert.equal(text, patterns.show(patterns.parse(value)))
  end)
end)

describe("a knob of patterns", function()
  local templates = template.registry({ "templates" }, function() return { "payload" } end)

  local function load(body)
    return policy.load { name = "p.lua", templates = templates, source =
      ('return policy "x" { attach = { iface = "lo", hook = "xdp" },\nalways = { payload "seen" { %s } } }'):format(body) }
  end

  it("is defined for the template, and undefined behind it", function()
    local source = plan.build(assert(load 'patterns = { "GET ", { "evil", within = 256 } }'), { share = "/share" }).source
    for _, line in ipairs {
      "#define KNOB_patterns(X) X(0, 0x", "#define KNOB_patterns_count 2\n", "#define KNOB_patterns_reach 256\n",
      "#undef KNOB_patterns\n", "#undef KNOB_patterns_count\n", "#undef KNOB_patterns_reach\n",
    } do assert.truthy(source:find(line, 1, true), line) end
  end)

  it("has the manifest's patterns where a policy has none", function()
    local decl = assert(load "")
    assert.same({ bytes = "GET ", at = 0 }, decl.probes[1].knobs.patterns[1])
  end)

  it("says where a policy is wrong", function()
    local _, message = load "patterns = { { 'evil', whitin = 4 } }"
    assert.equal('p.lua:2: "seen": payload: patterns: pattern 1: unknown key "whitin" (did you mean "within"?)', message)
  end)
end)
