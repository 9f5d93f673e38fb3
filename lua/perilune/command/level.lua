-- SPDX-License-Identifier: Apache-2.0
-- perilune level: hold a running policy at a level, and let it go.
local args = require "perilune.args"
local client = require "perilune.client"
local drive = require "perilune.client.drive"
local format = require "perilune.base.format"
local json = require "perilune.base.json"
local place = require "perilune.client.place"
local status_text = require "perilune.client.status_text"

local level = {
  usage = "perilune level POLICY [NAME [--for TIME] | --release] [--json] [--socket PATH | --server URL] […]",
  summary = "hold a policy of the daemon at a level, for a time or until it is let go",
  options = place.with { ["for"] = "text", release = "flag", json = "flag", names = "flag" },
  help = [[
Holds the policy at this level and no other, whatever its rules say; without a NAME it shows the ladder and who holds
it. Rules and schedules decide again after --for, or once it is let go with --release.

  --for TIME          as long as that ("10m"); without it, until --release
  --release           lets go of it
  --json              one JSON object: what the daemon answered
]] .. place.help,
}

local function answer(context, finish, parsed, text)
  return function(value, failure)
    if failure then return finish(drive.failed(context, failure)) end
    context.out(parsed.json and json.encode(type(value) == "table" and value or {}) or text)
    finish(context.exit.done)
  end
end

local function show(daemon, path, parsed, context, finish)
  daemon:ask("GET", path, nil, function(policy, failure)
    if failure then return finish(drive.failed(context, failure)) end
    if policy.state ~= "running" then
      return finish(context.broke(("the policy %s does not run: it is %s (perilune status %s says why)"):format(
        format.clean(policy.name), format.clean(policy.state), format.clean(policy.name))))
    elseif parsed.json then
      context.out(json.encode { level = policy.level, levels = json.array(policy.levels),
        claims = json.array(policy.claims or {}) })
    else
      for _, line in ipairs(status_text.ladder(policy)) do context.out(line) end
    end
    finish(context.exit.done)
  end)
end

-- For the completion of shells.
local function names(daemon, path, _, context, finish)
  daemon:ask("GET", path, nil, function(policy, failure)
    for _, one in ipairs(not failure and policy.levels or {}) do
      context.out(type(one) == "table" and one.name or one)
    end
    finish(context.exit.done)
  end)
end

function level.run(parsed, context)
  local name, wanted = parsed[1], parsed[2]
  if not name or parsed[3] then
    return context.fail "level takes a policy and a level (perilune status lists the policies)"
  end
  local seconds, message = args.duration(parsed, "for")
  if message then return context.fail(message) end
  if parsed.release and (wanted or seconds) then return context.fail "--release takes no level and no time" end
  if seconds and not wanted then return context.fail "--for needs a level to hold" end
  return drive.run(parsed, context, function(daemon, finish)
    local path = "/v1/policies/" .. client.escape(name)
    local shown = format.clean(name)
    if parsed.release then
      return daemon:ask("DELETE", path .. "/level", nil,
        answer(context, finish, parsed, shown .. ": let go; rules and schedules decide again"))
    elseif not wanted then
      return (parsed.names and names or show)(daemon, path, parsed, context, finish)
    end
    local how = seconds and ("for %s"):format(format.duration(seconds)) or "until it is let go"
    daemon:ask("PUT", path .. "/level", { level = wanted, ["for"] = parsed["for"] }, answer(context, finish, parsed,
      ("%s: held at %s %s (perilune level %s --release lets go)"):format(shown, format.clean(wanted), how, shown)))
  end)
end

return level
