-- SPDX-License-Identifier: Apache-2.0
-- perilune new: a working policy to start from.
local files = require "perilune.core.files"

local new = {
  usage = "perilune new NAME",
  summary = "write NAME.lua, a working policy to start from",
  options = {},
}

local POLICY = [[
-- What it watches for, in one sentence.
local iface = option "iface" { type = "iface", help = "interface to watch" }
local busy  = option "busy"  { default = "10k/s", help = "packets a second that are worth a closer look" }

local talkers = flows "talkers" { key = "src" }

return policy "%s" {
  attach = { iface = iface },
  window = "1s",
  always = { counter "all" {} },             -- runs at every level
  levels = {                                 -- cheapest first
    level "calm"   {},
    level "closer" { talkers },              -- who it is
  },
  rules = {
    rule "busy" {
      when  = rate("all.packets"):above(busy),
      clear = rate("all.packets"):below(busy / 2):lasting "10s",
      hold  = "closer",
    },
  },
}
]]

function new.run(parsed, context)
  local name = parsed[1]
  if not name or #parsed > 1 then return context.fail "new needs one name (perilune new web)" end
  name = name:gsub("%.lua$", "")
  if not name:match "^[%w_/.-]+$" then
    return context.fail(('"%s" is no name for a policy (letters, digits, - and _)'):format(name))
  end
  local path = name .. ".lua"
  if files.kind(path) then return context.fail(path .. " is there already (choose another name)", "EEXIST") end
  local file, message = io.open(path, "w")
  if not file then return context.fail(message .. " (is the directory there, and yours to write?)") end
  local written, why = file:write((POLICY:format(name:match "[^/]+$")))
  local ok
  ok, message = file:close()
  if not (written and ok) then
    os.remove(path)
    return context.broke(("%s: %s"):format(path, why or message))
  end
  context.out(("wrote %s\n\nNext: perilune check %s"):format(path, path))
  return context.exit.done
end

return new
