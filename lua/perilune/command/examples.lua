-- SPDX-License-Identifier: Apache-2.0
-- perilune examples: the policies that come with it, and what each is about.
local files = require "perilune.core.files"

local examples = {
  usage = "perilune examples",
  summary = "the policies that come with perilune",
  options = {},
}

-- The first comment that is not the licence says what to watch for.
local function first_comment(path)
  for line in io.lines(path) do
    local text = line:match "^%-%-%s*(.*)$"
    if not text then return "" end
    if not text:match "^SPDX" and text ~= "" then return text end
  end
  return ""
end

function examples.run(_, context)
  local dir = context.share .. "/examples"
  local names, message, code = files.list(dir)
  if not names then return context.fail(message, code) end
  local last
  for _, name in ipairs(names) do
    if name:match "%.lua$" then
      last = dir .. "/" .. name
      context.out(("%s\n    %s"):format(last, first_comment(last)))
    end
  end
  context.out(("\nNext: perilune check %s"):format(last or "POLICY.lua"))
  return context.exit.done
end

return examples
