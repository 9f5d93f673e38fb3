-- SPDX-License-Identifier: Apache-2.0
local args = require "perilune.args"

local SPEC = { set = "pairs", ["for"] = "text", json = "flag", ["dry-run"] = "flag" }

local function parse(...) return args.parse(SPEC, { ... }) end

local function refuses(expected, ...)
  local parsed, message = parse(...)
  assert.is_nil(parsed)
  assert.truthy(message:find(expected, 1, true), message)
end

describe("arguments", function()
  it("are options and what is left, in any order", function()
    assert.same({}, parse())
    assert.same({ "a.lua", "b.pcap", json = true, ["for"] = "3s" }, parse("a.lua", "--json", "--for", "3s", "b.pcap"))
    assert.same({ ["for"] = "3s", ["dry-run"] = true }, parse("--for=3s", "--dry-run"))
    assert.same({ "-" }, parse("-"))
    assert.same({ "" }, parse(""))
  end)

  it("take pairs as often as one likes, the last of a name", function()
    assert.same({ set = { iface = "vb", a = "1", ["x.y-z"] = "b=c" } },
      parse("--set", "iface=va", "--set", "a=1", "--set=iface=vb", "--set", "x.y-z=b=c"))
    assert.same({ set = { empty = "" } }, parse("--set", "empty="))
    assert.same({ set = { text = "two words" } }, parse("--set", "text=two words"))
  end)

  it("take a value that looks like an option", function()
    assert.same({ ["for"] = "--json" }, parse("--for", "--json"))
    assert.same({ ["for"] = "" }, parse("--for="))
  end)

  it("know --help and -h everywhere", function()
    assert.same({ help = true }, parse("--help"))
    assert.same({ "x.lua", help = true }, parse("x.lua", "-h"))
  end)

  it("are refused with the nearest that is known", function()
    refuses('there is no option --jsn here (did you mean "json"?)', "--jsn")
    refuses("there is no option --zzzzzz here (known: dry-run, for, json, set)", "--zzzzzz")
    refuses("options begin with two dashes", "-j")
    refuses("there is no option --", "--")
    refuses("there is no option", "---")
  end)

  it("need what belongs to them", function()
    refuses("--for needs a value", "--for")
    refuses("--set needs a value", "--set")
    refuses("--json takes no value", "--json=yes")
    refuses("--help takes no value", "--help=me")
    for _, wrong in ipairs { "iface", "=vb", "if ace=vb", "" } do
      refuses("--set " .. wrong .. ": expected NAME=VALUE", "--set", wrong)
    end
  end)

  it("do not change the list they come in", function()
    local list = { "--set", "a=1", "x" }
    args.parse(SPEC, list)
    assert.same({ "--set", "a=1", "x" }, list)
  end)
end)
