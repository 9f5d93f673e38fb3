-- SPDX-License-Identifier: Apache-2.0
--
-- The budget as a policy writes it, and what it may take away:
--
--   budget = { cost = "150ns/packet", cpu = "2%", shed = { "from", "to" } }
--
-- `cost`: of the programs, for a packet that a hook sees. `cpu`: of one core, programs and process together (as top
-- counts, so it may be more than 100 %). `shed`: probes that may be switched off, the first one first.

local sampling = require "perilune.probe.sampling"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local budget_form = {}

local fail = sandbox.fail

local MOST_SHED = 16 -- as many bits as bpf/ctl.h has

local function cost(value)
  local duration = type(value) == "string" and value:match "^(.-) ?/ ?packet$"
  local seconds = duration and units.parse(duration, "duration")
  if not seconds or seconds <= 0 then
    return nil, ("expected a cost a packet, got %s"):format(units.quote(value)), 'write it like "150ns/packet"'
  end
  return seconds * 1e9
end

budget_form.SPEC = schema.new {
  what = "budget",
  keys = { cost = { type = cost }, cpu = { type = "share", min = 0.0001 }, shed = { type = "table", default = {} } },
}

-- The names in shed, each a probe, each once.
local function shed_of(list, map, at)
  local names, seen = {}, {}
  for key in pairs(list) do
    if type(key) ~= "number" or key > #list then
      fail(at, "budget: shed takes a list of probes without gaps", 'like shed = { "from", "to" }')
    end
  end
  for i, name in ipairs(list) do
    if type(name) ~= "string" or not map[name] then
      fail(at, ("budget: shed: there is no probe %s"):format(units.quote(name)),
        words.suggest(tostring(name), words.keys(map)))
    end
    if seen[name] then fail(at, ('budget: shed: "%s" is named twice'):format(name), "leave one out") end
    seen[name], names[i] = true, name
  end
  if #names > MOST_SHED then
    fail(at, ("budget: %d probes to shed, and there may be %d"):format(#names, MOST_SHED), "leave some out")
  end
  return names
end

-- The rates of the probes: what may be thinned, and who would do it.
local function rates_of(decl, policy)
  local any = false
  for _, probe in ipairs(decl.probes) do
    local sample = probe.sample
    if sample and sample.live and not sample.target and not policy.budget then
      fail({ file = probe.file, line = probe.line },
        ('%s "%s": nothing would change how it is sampled: the policy has no budget'):format(probe.template,
          probe.name),
        'write budget = { cost = "150ns/packet" }, or sample = { target = "10k/s" }')
    end
    probe.halvings = sampling.halvings(sample, policy.budget)
    any = any or probe.halvings > 0
  end
  return any
end

--- Completes a declaration: decl.budget = { cost (ns), cpu (share), shed (names) }, or nil, and of each probe how often
--- its rate may be halved. `policy`: its form, with `budget` as SPEC makes it; `map`: probes by name.
function budget_form.declare(decl, policy, map)
  local thinned, values = rates_of(decl, policy), policy.budget
  if not values then return end
  local at = policy.at
  if not (values.cost or values.cpu) then
    fail(at, "budget: neither cost nor cpu", 'like budget = { cost = "150ns/packet", cpu = "2%" }')
  end
  local shed = shed_of(values.shed, map, at)
  if not thinned and #shed == 0 and #decl.levels == 1 then
    fail(at, "budget: there is nothing to give up: no probe is sampled, none may be shed, and there is one level",
      'write sample = "auto" in a probe, or shed = { … }')
  end
  decl.budget = { cost = values.cost, cpu = values.cpu, shed = shed }
end

return budget_form
