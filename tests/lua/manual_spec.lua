-- SPDX-License-Identifier: Apache-2.0
local manual = require "perilune.manual"

local COMMANDS = {
  { name = "run", usage = "perilune run X \226\128\166", summary = "attach it", options = { json = "flag", parent = "text" },
    help = "  --json  a line\n.dot at the front \\ back" },
  { name = "doctor", usage = "perilune doctor", summary = "look", options = {} },
}

describe("the man page", function()
  local page = manual.page(COMMANDS, "1.2")

  it("has every command, its options and its words", function()
    assert.truthy(page:find(".SS run\n", 1, true))
    assert.truthy(page:find(".SS doctor\n", 1, true))
    assert.truthy(page:find("\\-\\-json  a line", 1, true))
    assert.truthy(page:find("perilune 1.2", 1, true))
  end)

  it("is ASCII, and no text of it is taken for a request", function()
    assert.is_nil(page:find "[\128-\255]")
    assert.truthy(page:find("perilune run X \\[u2026]", 1, true))
    assert.truthy(page:find("\n\\&.dot at the front \\e back\n", 1, true))
  end)
end)

describe("completion", function()
  it("offers what a person may type, and nothing that is between processes", function()
    assert.same({ "--json", "--help" }, manual.options(COMMANDS[1]))
    local bash = manual.bash(COMMANDS)
    assert.truthy(bash:find("run) options='--json --help' ;;", 1, true))
    assert.truthy(bash:find("'run doctor --help --version -e'", 1, true))
    assert.is_nil(bash:find("--parent", 1, true))
  end)
end)
