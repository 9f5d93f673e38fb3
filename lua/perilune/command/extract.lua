-- SPDX-License-Identifier: Apache-2.0
-- perilune extract: what a monitor that was injected has counted.
local client = require "perilune.client"
local drive = require "perilune.client.drive"
local place = require "perilune.client.place"

local extract = {
  usage = "perilune extract NAME [METRIC] [--direction ingress | egress] [--open-metrics] "
    .. "[--socket PATH | --server URL] [--token-file FILE]",
  summary = "read what code made for Dynmon has counted, through the daemon",
  options = place.with { direction = "text", ["open-metrics"] = "flag" },
  help = [[
Prints the metrics of a monitor as JSON, or the value of one METRIC alone. Reading empties and swaps maps where the
monitor's configuration says so.

  --direction WAY     only those of the ingress or the egress path; a METRIC is ingress's without it
  --open-metrics      the text that a scraper gets; changes nothing
]] .. place.help,
}

local SECONDS = 60

-- The path to ask for | nil, message
local function path_of(parsed)
  local name, metric, direction = parsed[1], parsed[2], parsed.direction
  if not name or parsed[3] then return nil, "extract takes a monitor, and a metric of it or none" end
  if direction and direction ~= "ingress" and direction ~= "egress" then
    return nil, ("--direction %s: it is ingress or egress"):format(direction)
  end
  local path = "/polycube/v1/dynmon/" .. client.escape(name)
  if parsed["open-metrics"] then
    if metric or direction then return nil, "--open-metrics is of all metrics" end
    return path .. "/open-metrics"
  end
  path = path .. "/metrics"
  if metric then return ("%s/%s-metrics/%s/value"):format(path, direction or "ingress", client.escape(metric)) end
  return direction and ("%s/%s-metrics"):format(path, direction) or path
end

function extract.run(parsed, context)
  local path, message = path_of(parsed)
  if not path then return context.fail(message) end
  return drive.run(parsed, context, function(daemon, finish)
    daemon:ask("GET", path, nil, function(_, failure, text)
      if failure then return finish(drive.failed(context, failure)) end
      context.out((text:gsub("\n$", ""))) -- as it came: numbers of any size
      finish(context.exit.done)
    end, SECONDS)
  end)
end

return extract
