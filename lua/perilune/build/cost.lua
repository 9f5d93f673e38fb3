-- SPDX-License-Identifier: Apache-2.0
-- What probes cost a packet: programs as policies get them, measured on frames in memory. For `perilune bench packet`
-- and `perilune templates NAME --cost`.
local bench = require "perilune.core.bench"
local build = require "perilune.build"
local measurement = require "perilune.build.measurement"
local policy = require "perilune.policy"
local task = require "perilune.base.task"
local words = require "perilune.base.words"

local cost = {}

local TRIAL = 1000 -- runs before the first round: rows are made, caches are warm

--- What every figure is net of.
cost.EMPTY = [[
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>
SEC("xdp.frags") int empty(struct xdp_md *ctx)
{
	(void)ctx;
	return 2;
}
char LICENSE[] SEC("license") = "GPL";
]]

--- A hook without a probe: state and totals.
cost.HOOK = [[
#define HOOK_XDP
#include <perilune.h>
static __always_inline void nothing(struct packet *p, struct xdp_md *ctx)
{
	(void)p, (void)ctx;
}
LEVEL_XDP(level_base, NEED_NOTHING, nothing)
SEC("xdp.frags") int hook(struct xdp_md *ctx)
{
	union ctl_state state = hook__state();

	LEVEL(level_base, ctx, state, ingress);
	return XDP_PASS;
}
char LICENSE[] SEC("license") = "Dual BSD/GPL";
]]

local function quoted(names)
  local out = {}
  for i, name in ipairs(names) do out[i] = ("%q"):format(name) end
  return table.concat(out, ", ")
end

-- A feature with all that it requires.
local function whole(manifest, feature)
  local names, seen = {}, {}
  local function take(name)
    if seen[name] then return end
    seen[name] = true
    for _, needed in ipairs(manifest.features[name].requires or {}) do take(needed) end
    names[#names + 1] = name
  end
  take(feature)
  return names
end

--- A template without features, and with each: { name, template, feature, features, base }, `base` being the one
--- without.
function cost.variants(manifest)
  local plain = { name = manifest.name, template = manifest.name, features = {} }
  local list = { plain }
  for _, feature in ipairs(words.keys(manifest.features)) do
    list[#list + 1] = { name = manifest.name .. "." .. feature, template = manifest.name, feature = feature,
      features = whole(manifest, feature), base = plain }
  end
  return list
end

-- The C of a probe with these features at its default key, as a policy gets it.
local function planned(program, context, calls)
  local probes = {}
  for i, name in ipairs(program.probes or { program.template }) do
    probes[i] = ('%s "p%d" { features = { %s } }'):format(name, i, quoted(program.features or {}))
  end
  local text = 'return policy "cost" { attach = { iface = "lo", hook = "xdp" }, always = { %s }, rules = { %s } }'
  local decl = task.check(policy.load {
    source = text:format(table.concat(probes, ", "), program.rules or ""), name = program.name, set = {},
    templates = context.templates,
  })
  return task.check(build.plan(decl, { share = context.share, calls = calls }))
end

--- Compiles and loads a program: { name, source, args } or { name, template or probes, features, rules (text) }. Sets
--- `program` and `cost`.
function cost.load(t, program, context)
  local function load(calls)
    local plan = program.source and program or planned(program, context, calls)
    local args = { "-I" .. context.share .. "/bpf" }
    for _, arg in ipairs(plan.args or {}) do args[#args + 1] = arg end
    local object = t:compile { name = ("<%s>"):format(program.name), source = plan.source, args = args }
    return bench.program(object)
  end
  program.program = load(false) or task.check(load(true)) -- as build.start does
  program.cost = program.program:cost()
end

local function run(program, times) return task.check(program.program:run(program.frame, times)) end

--- Runs all of them in turns, on their `frame`s; the first is the empty one. Sets of each `net` (ns, by round), `ns`,
--- their median, and of those with a `base` how much more than it they need: `more_ns`, `more_instructions`.
function cost.measure(t, list, options)
  for _, program in ipairs(list) do
    program.net = {}
    run(program, TRIAL)
  end
  for round = 1, options.rounds do
    local nothing = {} -- by frame: the empty program's
    for _, program in ipairs(list) do
      local frame = program.frame
      nothing[frame] = nothing[frame] or run({ program = list[1].program, frame = frame }, options.times)
      program.net[round] = run(program, options.times) - nothing[frame]
    end
    t:await(function(done) -- signals are heard
      done(true)
      return true
    end)
  end
  for _, program in ipairs(list) do
    local more = {}
    if program.base then
      for round, ns in ipairs(program.net) do more[round] = ns - program.base.net[round] end
      program.more_ns = measurement.median(more)
      program.more_instructions = program.cost.instructions - program.base.cost.instructions
    end
  end
  for _, program in ipairs(list) do
    local copy = {}
    for round, ns in ipairs(program.net) do copy[round] = ns end
    program.ns = measurement.median(copy)
    program.program:close()
  end
end

local function signed(number, form) return number and ("%+" .. form):format(number) or "" end

--- A table's head, and a line of it.
function cost.header()
  return ("  %-26s %7s %7s %7s %7s %9s %7s %10s"):format("", "ns", "more", "insns", "more", "verified", "states",
    "map KiB")
end

function cost.line(program)
  return ("  %-26s %7.1f %7s %7d %7s %9d %7d %10.0f"):format(program.name, program.ns, signed(program.more_ns, ".1f"),
    program.cost.instructions, signed(program.more_instructions, "d"), program.cost.verified, program.cost.states,
    program.cost.map_bytes / 1024)
end

return cost
