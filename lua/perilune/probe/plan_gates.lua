-- SPDX-License-Identifier: Apache-2.0
-- What decides, packet by packet, whether a probe looks at it, as C: whether it is shed, its filter, its scope, its
-- sampling. A probe that has none of these costs nothing for it.
local plan_gates = {}

-- The map of a probe's sampling; with a word in front, as other maps of probes have theirs behind.
local function sampler_of(probe, c_name) return "sampler_of_" .. c_name(probe.name) end

local function rate_of(probe)
  if probe.halvings == 0 then return ("%d, true"):format(probe.sample.one_in) end
  return ("sample__rate(%d, p->thin, %d), false"):format(probe.sample.one_in, probe.halvings)
end

-- Whether a probe looks at less than every packet, now or later.
function plan_gates.is_sampled(probe)
  return probe.sample ~= nil and (probe.sample.one_in > 1 or (probe.halvings or 0) > 0)
end

--- Macros in front of everything: whether any probe is sampled, and whether any may be thinned or shed.
function plan_gates.defines(decl)
  local samples, budget = false, #(decl.budget and decl.budget.shed or {}) > 0
  for _, probe in ipairs(decl.probes) do
    samples = samples or plan_gates.is_sampled(probe)
    budget = budget or plan_gates.is_sampled(probe) and probe.halvings > 0
  end
  return (samples and "#define HOOK_SAMPLES\n" or "") .. (budget and "#define HOOK_BUDGET\n" or "")
end

--- The maps of sampled probes, as C, and of each its test, by name.
function plan_gates.samplers(decl, c_name)
  local out, tests = {}, {}
  for _, probe in ipairs(decl.probes) do
    if plan_gates.is_sampled(probe) then
      local map = sampler_of(probe, c_name)
      out[#out + 1] = ("\n/* %s: one packet in %d%s */\nSAMPLER(%s);\n"):format(probe.name, probe.sample.one_in,
        probe.halvings > 0 and (" to one in %d"):format(probe.sample.one_in * 2 ^ probe.halvings) or "", map)
      tests[probe.name] = ("(p->weight = sample__weight(&%s, p, %s))"):format(map, rate_of(probe))
    end
  end
  return table.concat(out), tests
end

--- Name → bit of the mask in the state, of probes that may be shed.
function plan_gates.bits(decl)
  local bits = {}
  for i, name in ipairs(decl.budget and decl.budget.shed or {}) do bits[name] = 2 ^ (i - 1) end
  return bits
end

--- The mask of these probes.
function plan_gates.mask(decl, names)
  local bits, mask = plan_gates.bits(decl), 0
  for _, name in ipairs(names) do mask = mask + bits[name] end
  return mask
end

-- A test that not all of these probes are shed; nil when one of them cannot be.
function plan_gates.any_on(names, bits)
  local mask = 0
  for _, name in ipairs(names) do
    if not bits[name] then return nil end
    mask = mask + bits[name]
  end
  return #names == 1 and ("!(p->shed & %d)"):format(mask) or ("(~p->shed & %d)"):format(mask)
end

return plan_gates
