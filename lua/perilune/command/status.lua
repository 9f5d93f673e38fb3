-- SPDX-License-Identifier: Apache-2.0
-- perilune status: how the daemon and its policies stand.
local client = require "perilune.client"
local columns = require "perilune.base.columns"
local drive = require "perilune.client.drive"
local json = require "perilune.base.json"
local loop = require "perilune.core.loop"
local place = require "perilune.client.place"
local status_text = require "perilune.client.status_text"

local status = {
  usage = "perilune status [POLICY] [--json] [--socket PATH | --server URL] […]",
  summary = "how the daemon stands, and its policies",
  options = place.with { json = "flag", names = "flag" },
  help = [[
Shows every policy of the running daemon: its level and since when, what its last window counted, and why it failed if
it did; and what perilune inject has put where. Of one policy: its ladder, who holds it, where it is attached, probes,
rules, sets, options, its last changes. The exit status is 1 when a policy that is shown has failed.

  --json              one JSON object instead
]] .. place.help,
}

local CHANGES = 5 -- of level, and errors, that are shown of one policy

local function exit_of(context, policies)
  for _, policy in ipairs(policies) do
    if policy.state == "failed" then return context.exit.failed end
  end
  return context.exit.done
end

local function all(daemon, parsed, context, finish)
  local asked = { service = "/v1/service", list = "/v1/policies", monitors = "/polycube/v1/dynmon" }
  drive.gather(daemon, context, finish, asked, function(values)
    local policies, wanted = values.list.policies, {}
    for _, policy in ipairs(policies) do
      local path = "/v1/policies/" .. client.escape(policy.name)
      wanted[policy.name .. " windows"] = path .. "/windows?limit=1"
      wanted[policy.name .. " transitions"] = path .. "/transitions?limit=1"
    end
    local function show(last)
      for _, policy in ipairs(policies) do
        policy.window = last[policy.name .. " windows"].windows[1]
        policy.transition = last[policy.name .. " transitions"].transitions[1]
      end
      if parsed.json then
        context.out(json.encode { service = values.service, policies = json.array(policies),
          monitors = json.array(status_text.monitors_of(values.monitors)) })
      else
        context.out(status_text.service(values.service))
        for _, line in ipairs(status_text.policies(policies, loop.wall(), columns())) do context.out(line) end
        for _, line in ipairs(status_text.monitors(values.monitors)) do context.out(line) end
      end
      finish(exit_of(context, policies))
    end
    if next(wanted) == nil then return show {} end
    drive.gather(daemon, context, finish, wanted, show)
  end)
end

local function one(daemon, name, parsed, context, finish)
  local path = "/v1/policies/" .. client.escape(name)
  drive.gather(daemon, context, finish, {
    policy = path, windows = path .. "/windows?limit=1", transitions = path .. "/transitions?limit=" .. CHANGES,
    errors = path .. "/errors?limit=" .. CHANGES,
  }, function(values)
    local policy = values.policy
    local more = { windows = values.windows.windows, transitions = values.transitions.transitions,
      errors = values.errors.errors }
    if parsed.json then
      for what, list in pairs(more) do policy[what] = json.array(list) end
      context.out(json.encode(policy))
    else
      for _, line in ipairs(status_text.policy(policy, more, loop.wall())) do context.out(line) end
    end
    finish(exit_of(context, { policy }))
  end)
end

-- For the completion of shells.
local function names(daemon, context, finish)
  daemon:ask("GET", "/v1/policies", nil, function(value, failure)
    for _, policy in ipairs(not failure and value.policies or {}) do context.out(policy.name) end
    finish(context.exit.done)
  end)
end

function status.run(parsed, context)
  if #parsed > 1 then return context.fail "status takes one policy, or none for all" end
  return drive.run(parsed, context, function(daemon, finish)
    if parsed.names then return names(daemon, context, finish) end
    if parsed[1] then return one(daemon, parsed[1], parsed, context, finish) end
    all(daemon, parsed, context, finish)
  end)
end

return status
