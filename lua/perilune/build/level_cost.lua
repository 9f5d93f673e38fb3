-- SPDX-License-Identifier: Apache-2.0
--
-- What each level of a policy costs: ns a packet on a frame in memory, instructions, how much of the verifier's
-- patience it takes, and memory of maps. Each level is made into a policy of its own and measured as `perilune bench
-- packet` does, net of a program that only lets packets pass. For `perilune check`.
local bench = require "perilune.core.bench"
local build = require "perilune.build"
local cost = require "perilune.build.cost"
local costs = require "perilune.build.costs"
local frames = require "perilune.build.frames"
local task = require "perilune.base.task"

local level_cost = {}

local ROUNDS, TIMES = 5, 20000
level_cost.VERIFIER_MOST = 1000000 -- instructions that the kernel's verifier follows (BPF_COMPLEXITY_LIMIT_INSNS)

local function alone(decl, level)
  local copy = {}
  for key, value in pairs(decl) do copy[key] = value end
  local attach = {}
  for key, value in pairs(decl.attach) do attach[key] = value end
  attach.hook = "xdp"
  copy.attach, copy.levels, copy.rules, copy.schedules = attach, { level }, {}, {}
  local runs = {}
  for _, name in ipairs(level.probes) do runs[name] = true end
  copy.probes = {}
  for _, probe in ipairs(decl.probes) do
    if runs[probe.name] then copy.probes[#copy.probes + 1] = probe end
  end
  return copy
end

local function load(t, decl, context, calls)
  local plan = task.check(build.plan(decl, { share = context.share, calls = calls, replay = true }))
  return bench.program(t:compile { name = ("<level %s>"):format(decl.levels[1].name), source = plan.source,
    args = plan.args })
end

-- The frame that most of a level's probes are for.
local function frame_of(decl)
  for _, probe in ipairs(decl.probes) do
    if frames.of(probe.template) ~= frames.of "" then return frames.of(probe.template) end
  end
  return frames.of ""
end

-- The level without a probe.
local function without(level, name)
  local copy = { probes = {} }
  for key, value in pairs(level) do copy[key] = copy[key] or value end
  for _, probe in ipairs(level.probes) do
    if probe ~= name then copy.probes[#copy.probes + 1] = probe end
  end
  return copy
end

-- Programs of the level without each probe that the budget may give up; of a level's only probe, an empty hook.
local function load_parts(t, decl, level, context, made)
  made.parts = {}
  for _, probe in ipairs(decl.probes) do
    local less = costs.is_part(decl, probe) and without(level, probe.name)
    if less and #less.probes < #level.probes then
      local program = { name = ("%s without %s"):format(level.name, probe.name), frame = made.frame }
      if #less.probes == 0 then
        program.source = cost.HOOK
        cost.load(t, program, context)
      else
        local own = alone(decl, less)
        program.program = load(t, own, context, false) or task.check(load(t, own, context, true))
        program.cost = program.program:cost()
      end
      made.parts[probe.name] = program
    end
  end
end

-- By probe: how much less a packet costs without it, ns.
local function parts_of(made)
  local out = {}
  for name, program in pairs(made.parts or {}) do out[name] = math.max(0, made.ns - program.ns) end
  return out
end

--- A list of { level, ns, instructions, verified, map_bytes, parts }, in the order of the levels | nil, message, code,
--- status as of task.run. With `parts` also what each probe that the budget may give up has of it: probe → ns.
function level_cost.measure(decl, context, parts)
  local list, levels = { { name = "empty", source = cost.EMPTY } }, {}
  local ok, message, code, status = task.run(function(t)
    for _, level in ipairs(decl.levels) do
      local own = alone(decl, level)
      local program = { name = level.name, frame = frame_of(own) }
      program.program = load(t, own, context, false) or task.check(load(t, own, context, true)) -- as build.start does
      program.cost = program.program:cost()
      list[#list + 1], levels[#levels + 1] = program, program
      if parts then load_parts(t, decl, level, context, program) end
      for _, part in pairs(program.parts or {}) do list[#list + 1] = part end
    end
    list[1].frame = list[2].frame
    cost.load(t, list[1], context)
    cost.measure(t, list, { rounds = ROUNDS, times = TIMES })
  end)
  if not ok then return nil, message, code, status end
  local out = {}
  for i, level in ipairs(decl.levels) do
    local made = levels[i]
    out[i] = { level = level.name, ns = made.ns, instructions = made.cost.instructions, verified = made.cost.verified,
      map_bytes = made.cost.map_bytes, parts = parts_of(made) }
  end
  return out
end

return level_cost
