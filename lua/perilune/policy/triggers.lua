-- SPDX-License-Identifier: Apache-2.0
--
-- Rules with `trigger`: which levels test them, which counters they read, and the C that does it (bpf/trigger.h).
-- Pure: the condition itself is lower.lua's matter.
--
-- A trigger, as the declaration has it: { rule, slice (seconds), early, text, counters = { { probe, field, map,
-- entries, index }, … }, to (index of the held level, from 0, or nil), levels = { index of a level, from 1 → true } }.

local lower = require "perilune.policy.lower"
local template = require "perilune.probe.template"
local units = require "perilune.base.units"
local view = require "perilune.records.view"

local triggers = {}

triggers.MOST = 16 -- bits of ctl.armed

-- The map of a probe's rows.
local function rows_of(probe)
  for _, window in ipairs(probe.manifest.windows or {}) do
    if window.role == "rows" then return window end
  end
end

local function field_of(probe, name)
  for _, field in ipairs(template.fields(probe.manifest, probe.key, probe.features)) do
    if field.name == name then return field end
  end
end

-- For lower.lua: a counter of which each CPU has one for each direction, and that one is their sum.
local function counters_of(probes)
  return function(name, field_name)
    local probe = probes[name]
    local rows, field = rows_of(probe), field_of(probe, field_name)
    if not rows or rows.kind ~= "array" or not field then
      return nil, ("the rows of %s have keys"):format(name), "use a counter's fields"
    end
    if rows.entries ~= 1 and rows.index ~= "direction" then
      return nil, ("%s has %s rows"):format(name, tostring(rows.entries)), "use a counter's fields"
    end
    local fold = type(probe.fold) == "string" and probe.fold or (probe.fold or {})[field_name] or field.fold
      or (rows.fold or {})[field_name] or "sum"
    if field.list or fold ~= "sum" then return nil, "it is no sum", "use a counter's fields" end
    if probe.sample and (probe.sample.one_in > 1 or probe.sample.live) then
      return nil, ("%s is sampled, and a trigger counts every packet"):format(name), "use a probe without sample"
    end
    return { probe = name, field = field_name, map = rows.map, entries = rows.entries, index = rows.index }
  end
end

-- The levels at which it is tested: below the held one, and its probes run there.
local function levels_of(trigger, levels, hold)
  local tested, absent = {}, nil
  for i, level in ipairs(levels) do
    if level.name == hold then
      trigger.to = i - 1
      break
    end
    local runs = {}
    for _, name in ipairs(level.probes) do runs[name] = true end
    local missing = nil
    for _, counter in ipairs(trigger.counters) do
      if not runs[counter.probe] then missing = counter.probe end
    end
    absent = absent or missing
    if not missing then
      tested[i] = true
      if trigger.slice >= level.window then
        return nil, ("%s is not shorter than the window of level %s"):format(units.print(trigger.slice, "duration"),
          units.quote(level.name)), "leave it out, or make it shorter"
      end
    end
  end
  if next(tested) == nil then
    if not absent then return nil, ("there is no level below %s"):format(units.quote(hold)), "hold a deeper one" end
    local where = hold and "no level below " .. units.quote(hold) or "no level"
    return nil, ("%s runs its probe %s"):format(where, units.quote(absent)),
      ("add %s to one, or to always"):format(absent)
  end
  return tested
end

--- Of a rule: name, when, per, hold, act (plain, as in the declaration), `slice` in seconds; probes: name → probe;
--- levels: the declaration's. Returns the trigger | nil, what is wrong with it, remedy.
function triggers.of(rule, slice, probes, levels)
  if rule.per then
    return nil, "a rule with per has a key for every instance, and the kernel tests none", "leave out per"
  end
  for _, act in ipairs(rule.act) do
    if act.kind == "call" then
      return nil, "its act is a function, which is given a closed window, and a trigger waits for none",
        "give the function to a rule of its own"
    end
  end
  local trigger, refused = lower.condition(rule.when, slice, counters_of(probes))
  if not trigger then
    return nil, ("%s cannot be tested in the kernel: %s"):format(refused.part, refused.why), refused.remedy
  end
  trigger.rule = rule.name
  local tested, message, remedy = levels_of(trigger, levels, rule.hold)
  if not tested then return nil, message, remedy end
  trigger.levels = tested
  return trigger
end

local function name_of(index) return "trigger_" .. index - 1 end

--- What all levels share: the conditions and their functions. `list`: the declaration's triggers.
function triggers.source(list)
  local out = {}
  for i, trigger in ipairs(list) do
    out[#out + 1] = ([[

/* rule %s, over slices of %s */
static __always_inline bool %s_holds(const struct trigger_sums *sums)
{
	return %s;
}
TRIGGER(%s, %s, .index = %d, .fields = %d, .slice = %.0fULL, .to = %d)
]]):format(trigger.rule:gsub("[*/%c]", "_"), units.print(trigger.slice, "duration"), name_of(i), trigger.text,
      name_of(i), trigger.early and "early" or "whole", i - 1, #trigger.counters, trigger.slice * 1e9, trigger.to or 0)
  end
  return table.concat(out)
end

--- The lines of a level's function before and after its templates. c_name(probe) is its name in C; `level`: its
--- index, from 1.
function triggers.lines(list, level, c_name)
  local before, after, known = {}, {}, {}
  local function line(into, text, ...)
    text = text:format(...)
    if not known[text] then into[#into + 1] = text end
    known[text] = true
  end
  local function more_of(counter)
    local map = c_name(counter.probe) .. "_" .. counter.map
    local name = map .. "_" .. c_name(counter.field)
    line(before, "\ttypeof(*%s.value) *at_%s = TRIGGER_LOOK(%s, p->half, %d, %s);", map, map, map, counter.entries,
      counter.index and "p->direction" or "0")
    line(before, "\t__u64 was_%s = at_%s ? at_%s->%s : 0;", name, map, map, counter.field)
    line(after, "\t__u64 more_%s = at_%s ? at_%s->%s - was_%s : 0;", name, map, map, counter.field, name)
    return "more_" .. name
  end
  for i, trigger in ipairs(list) do
    if trigger.levels[level] then
      local more = {}
      for k, counter in ipairs(trigger.counters) do more[k] = more_of(counter) end
      line(after, "\t%s{\n\t\tstruct trigger_sums more = {.by = {%s}};\n\n\t\t%s_count(&more, p->half, %d);\n\t}",
        trigger.early and ("if (%s) "):format(table.concat(more, " | ")) or "", table.concat(more, ", "), name_of(i),
        level - 1)
    end
  end
  return before, after
end

--- What a batch of struct trigger_event says, oldest first: { trigger (from 0), mono (seconds), by, raised }.
function triggers.trips(batch)
  local list = {}
  for i, row in view.new(batch, { window = "triggers" }):rows() do
    list[i] = {
      trigger = row.trigger, mono = row.time / 1e6, by = row:plain().by, raised = row.to > row.from,
    }
  end
  batch:close()
  return list
end

return triggers
