-- SPDX-License-Identifier: Apache-2.0
-- perilune manual: the man page, and the completion of shells.
local manual = require "perilune.manual"

local command = {
  usage = "perilune manual [bash | zsh]",
  summary = "the man page as roff; the completion for a shell",
  options = {},
  help = [[
  perilune manual | man -l -            reads the man page where it is not installed
  . <(perilune manual bash)             completion in this shell]],
}

local FORMS = {
  bash = manual.bash, zsh = manual.zsh,
}

function command.run(parsed, context)
  local form = parsed[1]
  if form and not FORMS[form] or parsed[2] then
    return context.fail "manual takes nothing, bash, or zsh"
  end
  io.stdout:write(form and FORMS[form](context.commands()) or manual.page(context.commands(), context.version))
  return context.exit.done
end

return command
