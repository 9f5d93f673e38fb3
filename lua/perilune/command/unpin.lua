-- SPDX-License-Identifier: Apache-2.0
-- perilune unpin: what policies have left in the kernel that ran with --pin; gives up one of them.
local pinned = require "perilune.core.pinned"

local unpin = {
  usage = "perilune unpin [POLICY]",
  summary = "list what is pinned by run --pin, or detach and remove what a process has left that was killed",
  options = {},
  help = [[
A policy that runs with --pin goes on in the kernel when its process is killed: it stays attached and counts, until
it is run again with --pin. Without an argument, lists what is pinned. With the name of a policy, detaches and removes
what is left of it; what it has counted since its last window is given up. One whose process is there is to be stopped
instead.]],
}

local function list(context)
  local found, message, code = pinned.list()
  if not found then return context.broke(message, code) end
  if #found == 0 then context.out "nothing is pinned" end
  for _, one in ipairs(found) do
    local how = one.alive and ("process %d"):format(one.pid) or one.whole and "without a process" or "not whole"
    context.out(("%-20s %s  perilune %s  %s"):format(one.policy, how, one.version, one.file))
  end
  return context.exit.done
end

function unpin.run(parsed, context)
  if #parsed > 1 then return context.fail "unpin takes one policy's name" end
  if #parsed == 0 then return list(context) end
  local ok, message, code = pinned.remove(parsed[1])
  if not ok then return context.broke(message, code) end
  return context.exit.done
end

return unpin
