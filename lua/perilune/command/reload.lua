-- SPDX-License-Identifier: Apache-2.0
-- perilune reload: the daemon reads again what it was started with.
local drive = require "perilune.client.drive"
local format = require "perilune.base.format"
local json = require "perilune.base.json"
local place = require "perilune.client.place"

local reload = {
  usage = "perilune reload [--json] [--socket PATH | --server URL] […]",
  summary = "have the daemon read its configuration and credentials again",
  options = place.with { json = "flag" },
  help = [[
The same as SIGHUP to the daemon, with an answer: what is wrong is said, and stays as it was. Exit status 1 then.

  --json              one JSON object: what the daemon answered
]] .. place.help,
}

local SECONDS = 300 -- policies may have to be compiled

local function tell(value, context)
  for _, one in ipairs(value.policies or {}) do
    context.out(("%s: %s"):format(format.clean(one.name), format.clean(one.result)))
  end
  for _, problem in ipairs(value.problems or {}) do
    for line in (tostring(problem) .. "\n"):gmatch "(.-)\n" do context.err("perilune: " .. format.clean(line)) end
  end
end

function reload.run(parsed, context)
  if parsed[1] then return context.fail(("reload takes no argument %s"):format(parsed[1])) end
  return drive.run(parsed, context, function(daemon, finish)
    daemon:ask("POST", "/v1/reload", nil, function(value, failure)
      if failure then return finish(drive.failed(context, failure)) end
      local fine = #(value.problems or {}) == 0
      if parsed.json then
        context.out(json.encode(value))
      else
        tell(value, context)
        context.out(fine and "reloaded" or "what is wrong stays as it was")
      end
      finish(fine and context.exit.done or context.exit.failed)
    end, SECONDS)
  end)
end

return reload
