-- SPDX-License-Identifier: Apache-2.0
-- From a declaration to what the compiler and the kernel need: one C source with every level and every hook's
-- root program, the windowed maps in the order the runtime reads them, and the sizes of maps. Pure text work:
-- nothing here touches the kernel.
--
-- The source is written to be read: `perilune check --source` prints it.
local capture_act = require "perilune.policy.capture_act"
local gates = require "perilune.probe.plan_gates"
local plan_probe = require "perilune.probe.plan_probe"
local scopes = require "perilune.probe.scopes"
local template = require "perilune.probe.template"
local triggers = require "perilune.policy.triggers"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local plan = {}

local c_name = plan_probe.c_name

-- What an operator calls a hook → the hooks of the kernel it stands for.
plan.hooks = {
  xdp = { "xdp" },
  ["tc.ingress"] = { "tc.ingress" },
  ["tc.egress"] = { "tc.egress" },
  tc = { "tc.ingress", "tc.egress" },
}

local kinds = {
  ["xdp"] = { kind = "xdp", direction = "ingress" },
  ["tc.ingress"] = { kind = "tc", direction = "ingress" },
  ["tc.egress"] = { kind = "tc", direction = "egress" },
}

local contexts = {
  xdp = {
    section = "xdp.frags", type = "struct xdp_md", pass = "XDP_PASS", level = "LEVEL_XDP", filter = "FILTER_XDP",
  },
  tc = { section = "tc", type = "struct __sk_buff", pass = "TC_PASS", level = "LEVEL_TC", filter = "FILTER_TC" },
}

--- The root programs: { hook, program, kind, direction }. A replay runs XDP programs, one for each direction.
local function roots_of(decl, replay)
  local roots = {}
  for _, hook in ipairs(plan.hooks[decl.attach.hook]) do
    local root = { hook = hook, kind = kinds[hook].kind, direction = kinds[hook].direction }
    if replay then
      root.kind = "xdp"
      root.program = "replay_" .. root.direction
    else
      root.program = c_name(hook)
    end
    roots[#roots + 1] = root
  end
  return roots
end

-- The filters of all probes, each expression once, and the functions that evaluate them: source and a map from
-- expression to number. nil, nil, message for what is no filter.
local function filters_source(decl, used, translate)
  local out, numbers, count = {}, {}, 0
  for _, probe in ipairs(decl.probes) do
    if probe.filter and not numbers[probe.filter] then
      local name = ("filter_%d"):format(count)
      local source, message = translate(probe.filter, name)
      if not source then
        return nil, nil, ("%s:%s: %s %s: %s"):format(probe.file, probe.line, probe.template, units.quote(probe.name),
          message)
      end
      out[#out + 1] = ("\n/* %s: %s */\n%s"):format(name, probe.filter:gsub("[*/\\%c]", "_"), source)
      for _, kind in ipairs { "xdp", "tc" } do
        if used[kind] then
          out[#out + 1] = ("%s(%s_%s, %s)\n"):format(contexts[kind].filter, kind, name, name)
        end
      end
      numbers[probe.filter], count = count, count + 1
    end
  end
  return table.concat(out), numbers
end

-- Whether a probe counts a packet in a tunnel under its innermost headers.
local function looks_inside(probe)
  for _, feature in ipairs(probe.features) do
    if feature == "tunnel" then return true end
  end
  return false
end

--- The map of a set that limits probes. Names of probes cannot clash with it: theirs have a field behind them.
function plan.scope_map(name)
  return "scope_" .. c_name(name)
end

-- The maps of the sets, and of each limited probe its condition on a packet, in C.
local function scopes_source(decl)
  local out, sets, conditions = {}, {}, {}
  for _, set in ipairs(decl.sets or {}) do
    if set.scope or set.export then
      out[#out + 1] = ("\n/* set %s: of %s */\n%s;\n"):format(set.name, set.of,
        scopes.declare(set, plan.scope_map(set.name)))
    end
    sets[set.name] = set
  end
  for _, probe in ipairs(decl.probes) do
    if probe.scope then
      conditions[probe.name] = scopes.condition(sets[probe.scope], plan.scope_map(probe.scope), looks_inside(probe))
    end
  end
  return table.concat(out), conditions
end

-- What a level does with a packet: first its filters, each once, then the templates.
local function templates_source(level, index, kind, tests)
  local out, users, filters, order = {}, {}, {}, {}
  for name, probe in pairs(tests.probes) do filters[name] = tests.filters[probe.filter] end
  out[#out + 1] = ("static __always_inline void %s_templates_%s(struct packet *p, %s *ctx)\n{"):format(kind,
    c_name(level.name), contexts[kind].type)
  for _, name in ipairs(level.probes) do
    local number = filters[name]
    if number and not users[number] then users[number], order[#order + 1] = {}, number end
    if number then table.insert(users[number], name) end
  end
  for _, number in ipairs(order) do
    local on = gates.any_on(users[number], tests.bits)
    out[#out + 1] = ("\tint matches_%d = %s%s_filter_%d(ctx);"):format(number, on and on .. " && " or "", kind, number)
  end
  if #order == 0 then out[#out + 1] = "\t(void)ctx;" end
  local before, after = triggers.lines(tests.triggers, index, c_name)
  for _, line in ipairs(before) do out[#out + 1] = line end
  for _, name in ipairs(level.probes) do
    local scope = tests.scopes[name]
    local all = { tests.bits[name] and gates.any_on({ name }, tests.bits) }
    if filters[name] then all[#all + 1] = ("matches_%d"):format(filters[name]) end
    if scope then all[#all + 1] = ("p->parsed == PARSED && (%s)"):format(scope) end
    all[#all + 1] = tests.samplers[name]
    if #all > 0 then out[#out + 1] = ("\tif (%s)"):format(table.concat(all, " && ")) end
    out[#out + 1] = ("%s\t%s_on_packet(p);"):format(#all > 0 and "\t" or "", c_name(name))
  end
  for _, line in ipairs(after) do out[#out + 1] = line end
  for _, line in ipairs(tests.capture_lines) do out[#out + 1] = line end
  out[#out + 1] = "}"
  return table.concat(out, "\n")
end

-- What the parser is asked for by a level, as a C expression: what its probes' templates, keys and features need.
-- A template that says nothing needs addresses and transport.
local function needs_of(level, tests)
  local needed = {}
  local function take(list)
    for _, need in ipairs(list or {}) do needed["NEED_" .. need:upper()] = true end
  end
  for _, name in ipairs(level.probes) do
    local probe = tests.probes[name]
    local manifest = probe.manifest
    take(manifest.needs or { "base" })
    for _, field in ipairs(template.fields(manifest, probe.key, probe.features)) do take(field.needs) end
    for _, feature in ipairs(probe.features) do take(manifest.features[feature].needs) end
    if probe.scope then take(scopes.needs(tests.sets[probe.scope])) end
    if gates.is_sampled(probe) then take { "transport" } end -- SYN, FIN and RST are always looked at
  end
  take(tests.capture_needs)
  local list = words.keys(needed)
  return #list > 0 and table.concat(list, " | ") or "NEED_NOTHING", needed.NEED_TUNNEL
end

-- A level's templates and its function, for each kind of program that a hook needs.
local function level_source(level, index, used, tests)
  local out = {}
  local name = c_name(level.name)
  local needs, tunnels = needs_of(level, tests)
  out[#out + 1] = ("\n/* level %d: %s */"):format(index - 1, level.name)
  for _, kind in ipairs { "xdp", "tc" } do
    if used[kind] then
      out[#out + 1] = templates_source(level, index, kind, tests)
      out[#out + 1] = ("%s%s(%s_level_%s, %s, %s_templates_%s)"):format(contexts[kind].level,
        tunnels and "_TUNNELS" or "", kind, name, needs, kind, name)
    end
  end
  return table.concat(out, "\n") .. "\n"
end

local function root_source(root, levels)
  local context, leased = contexts[root.kind], false
  local function call(level)
    return ("LEVEL(%s_level_%s, ctx, state, %s);"):format(root.kind, c_name(level.name), root.direction)
  end
  local out = {
    ("\nSEC(\"%s\")\nint %s(%s *ctx)\n{"):format(context.section, root.program, context.type),
    "\tunion ctl_state state = hook__state();\n\n\tswitch (state.level) {",
  }
  for i = 2, #levels do
    out[#out + 1] = ("\tcase %d:"):format(i - 1)
    if levels[i].lease then
      leased = true
      out[#out + 1] = ("\t\tif (hook__overdue(%.0fULL))\n\t\t\tgoto base;"):format(levels[i].lease * 1e9)
    end
    out[#out + 1] = ("\t\t%s\n\t\tbreak;"):format(call(levels[i]))
  end
  out[#out + 1] = ("\tdefault:\n%s\t\t%s\n\t}\n\treturn %s;\n}\n"):format(leased and "\tbase:\n" or "",
    call(levels[1]), context.pass)
  return table.concat(out, "\n")
end

-- How a windowed map's values of several CPUs become one, where not as their types say: by field, or a word for all.
local function folds_of(probe, declared)
  if type(probe.fold) == "string" then return probe.fold end
  local folds = {}
  if declared.role == "rows" or declared.role == "other" then
    for _, field in ipairs(template.fields(probe.manifest, probe.key, probe.features)) do
      folds[field.name] = field.fold
    end
    for field, fold in pairs(probe.fold or {}) do folds[field] = fold end
  end
  for field, fold in pairs(declared.fold or {}) do folds[field] = folds[field] or fold end
  return next(folds) and folds or nil
end

-- Windowed maps by position: the hook's totals first, then each probe's.
local function windows_of(decl)
  local windows = { { map = "hook_totals", kind = "array", entries = 2, index = "direction", role = "totals" } }
  local entries = {}
  if #(decl.triggers or {}) > 0 then
    windows[2] = { map = "trigger_events_lost", kind = "array", entries = 1, role = "lost" }
  end
  if decl.taps then
    windows[#windows + 1] = { map = "tap_events_lost", kind = "array", entries = 1, role = "lost" }
  end
  for _, probe in ipairs(decl.probes) do
    for _, declared in ipairs(template.windows(probe.manifest, probe.features)) do
      local size = declared.entries
      if type(size) == "string" then size = probe.knobs[size] end
      local map = ("%s_%s"):format(c_name(probe.name), declared.map)
      windows[#windows + 1] = {
        map = map, kind = declared.kind, entries = size, role = declared.role, probe = probe.name,
        index = declared.index, fold = folds_of(probe, declared),
      }
      if declared.kind ~= "array" then entries[#entries + 1] = { map = map, entries = size } end
    end
  end
  return windows, entries
end

-- Which maps a window at a level may have filled: that level's and the base's, to which the kernel falls back
-- by itself.
local function maps_of(decl, windows)
  local function mark(marks, level)
    for _, name in ipairs(level.probes) do
      for position, window in ipairs(windows) do
        if window.probe == name then marks[position] = true end
      end
    end
  end
  local maps = {}
  for i, level in ipairs(decl.levels) do
    local marks = {}
    for position, window in ipairs(windows) do marks[position] = window.probe == nil end
    mark(marks, decl.levels[1])
    mark(marks, level)
    maps[i] = marks
  end
  return maps
end

-- Whether a template of these is too big to stand in the root programs.
local function wants_calls(decl)
  for _, probe in ipairs(decl.probes) do
    if probe.manifest.calls then return true end
  end
  return false
end

--- What the compiler calls a policy's program.
function plan.name(decl) return ("<policy %s>"):format(decl.name) end

--- `options`: share (directory that holds bpf/), replay, calls and without_btf (booleans: see bpf/hook.h), delay
--- (test builds: iterations between epoch and count), filter (perilune.core.filter's source, or a function like it).
--- → { source, args, roots, windows, entries = {{map, entries}}, maps = by level {position → boolean} }
--- | nil, message for a filter that is none
function plan.build(decl, options)
  local roots = roots_of(decl, options.replay)
  local used = {}
  for _, root in ipairs(roots) do used[root.kind] = true end

  local tests, tunnels = { probes = {}, sets = {}, bits = gates.bits(decl), triggers = decl.triggers or {} }, false
  for _, probe in ipairs(decl.probes) do tests.probes[probe.name] = probe end
  for _, set in ipairs(decl.sets or {}) do tests.sets[set.name] = set end
  tests.capture_lines = capture_act.lines(decl, plan.scope_map)
  tests.capture_needs = capture_act.parsing(decl)
  for _, level in ipairs(decl.levels) do tunnels = tunnels or select(2, needs_of(level, tests)) end
  local source = {
    ("/* Generated for the policy %s. */\n"):format(decl.name:gsub("[*/]", "_")),
    used.xdp and "#define HOOK_XDP\n" or "", options.without_btf and "#define HOOK_WITHOUT_BTF\n" or "",
    options.replay and "#define HOOK_REPLAY\n" or "", tunnels and "#define HOOK_TUNNELS\n" or "",
    #tests.triggers > 0 and "#define HOOK_TRIGGERS\n" or "",
    gates.defines(decl), decl.taps and "#define HOOK_TAP\n" or "",
    "#include <perilune.h>\n",
  }
  for _, probe in ipairs(decl.probes) do source[#source + 1] = plan_probe.source(probe) end
  local filters, message
  filters, tests.filters, message = filters_source(decl, used, options.filter)
  if not filters then return nil, message end
  source[#source + 1] = filters
  source[#source + 1], tests.scopes = scopes_source(decl)
  source[#source + 1], tests.samplers = gates.samplers(decl, c_name)
  source[#source + 1] = triggers.source(tests.triggers)
  for i, level in ipairs(decl.levels) do
    source[#source + 1] = level_source(level, i, used, tests)
  end
  for _, root in ipairs(roots) do source[#source + 1] = root_source(root, decl.levels) end
  source[#source + 1] = "\nchar LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n"

  local args = { "-I" .. options.share .. "/bpf", unpack(plan_probe.args(decl.probes)) }
  if options.calls or wants_calls(decl) then args[#args + 1] = "-DHOOK_CALLS" end
  if options.delay then args[#args + 1] = ("-DPERILUNE_TEST_DELAY=%d"):format(options.delay) end
  local windows, entries = windows_of(decl)
  return {
    source = plan_probe.numbered(table.concat(source), plan.name(decl)), args = args,
    roots = roots, windows = windows, entries = entries,
    maps = maps_of(decl, windows),
  }
end

return plan
