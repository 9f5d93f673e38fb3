-- SPDX-License-Identifier: Apache-2.0
-- perilune bench: the project's own measurements. Each is a module perilune.bench.NAME with `summary`, `help` and
-- run(parsed, context) → exit status; `parsed.json` asks for one JSON object a line (perilune.measurement writes them).
local files = require "perilune.core.files"
local words = require "perilune.base.words"

local bench = {
  usage = "perilune bench [NAME] [--entries N] [--json]",
  summary = "measure perilune's own work on this machine",
  options = { json = "flag", entries = "text" },
  help = [[
Without a NAME, lists what can be measured. Every measurement compares ways of doing the same in one run, taking turns:
look at the ratios, since times depend on the machine and on what else it does.

  --entries N  entries in a map (otherwise extract: 10000 and 1000000, map: 100000 and 1000000)
  --json       one JSON object a line]],
}

local function names(context)
  local found = {}
  for _, file in ipairs(files.list(context.share .. "/lua/perilune/bench") or {}) do
    found[#found + 1] = file:match "^([%w_]+)%.lua$"
  end
  return found
end

function bench.run(parsed, context)
  local known, name = names(context), parsed[1]
  if parsed[2] then return context.fail(("bench takes one name, not also %s"):format(parsed[2])) end
  if not name then
    for _, each in ipairs(known) do
      context.out(("  perilune bench %s\n      %s"):format(each, require("perilune.bench." .. each).summary))
    end
    return context.exit.done
  end
  for _, each in ipairs(known) do
    if each == name then return require("perilune.bench." .. name).run(parsed, context) end
  end
  return context.fail(("there is no measurement %s (%s)"):format(name, words.suggest(name, known)))
end

return bench
