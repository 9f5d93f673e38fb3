-- SPDX-License-Identifier: Apache-2.0
-- perilune templates: what probes can be made of.
local cost = require "perilune.build.cost"
local frames = require "perilune.build.frames"
local kernel = require "perilune.core.kernel"
local patterns = require "perilune.probe.patterns"
local task = require "perilune.base.task"
local template = require "perilune.probe.template"
local words = require "perilune.base.words"

local templates = {
  usage = "perilune templates [NAME [--cost]]",
  summary = "the templates, or one template's keys, fields, features and knobs",
  options = { cost = "flag" },
  help = [[
  --cost  measures, here and now, what the template and each of its features cost a packet: ns and instructions
          (also beside the template alone), what the verifier looked at, and memory of maps; needs root]],
}

local ROUNDS, REPEAT = 9, 50000 -- of what is measured

-- What the template and its features cost, on the frame it is for.
local function show_cost(manifest, context)
  local list = { { name = "empty", source = cost.EMPTY } }
  for _, variant in ipairs(cost.variants(manifest)) do list[#list + 1] = variant end
  local ok, message, code, status = task.run(function(t)
    for _, program in ipairs(list) do
      program.frame = frames.of(manifest.name)
      cost.load(t, program, context)
    end
    cost.measure(t, list, { rounds = ROUNDS, times = REPEAT })
  end)
  if status then return status end
  if not ok then return context.broke(message, code) end
  context.out "\ncost a packet, net of a program that only lets it pass"
  context.out(cost.header())
  for i = 2, #list do context.out(cost.line(list[i])) end
  return context.exit.done
end

local function list(context)
  local names, wide = context.templates:names(), 0
  for _, name in ipairs(names) do wide = math.max(wide, #name) end
  for _, name in ipairs(names) do
    local manifest, message = context.templates:get(name)
    if not manifest then return context.fail(message) end
    context.out(("%-" .. wide .. "s  %s"):format(name, manifest.help))
  end
  context.out "\nNext: perilune templates NAME"
  return context.exit.done
end

local function rows(context, title, out)
  if #out == 0 then return end
  context.out("\n" .. title)
  for _, row in ipairs(out) do context.out(("  %-12s %-12s %s"):format(row[1], row[2], row[3])) end
end

-- How each windowed map is read on this machine, as far as its kind says; a map of rows may be of several types, and is
-- a hash where the manifest does not say.
local function maps_of(manifest)
  local ways, out = {}, {}
  for _, way in ipairs(kernel.map_ways()) do ways[way.type] = way end
  for _, window in ipairs(manifest.windows) do
    local way = ways[window.type or (window.kind == "array" and "percpu_array" or "hash")]
    local entries = window.entries
    if type(entries) == "string" then entries = manifest.knobs[entries].default end
    local text = not way.code and (entries > way.large_from and way.large or way.quiet)
    if way.code then text = ("cannot be read (%s)"):format(way.code) end
    out[#out + 1] = { window.map, way.type, ("%s [%d entries]%s"):format(text, entries,
      window.feature and ", with " .. window.feature or "") }
  end
  return out
end

local function show(name, parsed, context)
  local manifest, message = context.templates:get(name)
  if not manifest then return context.fail(message) end
  context.out(("%s: %s"):format(name, manifest.help))
  context.out("found in " .. manifest.dir)
  local keys, fields, features, knobs = {}, {}, {}, {}
  for _, key in ipairs(words.keys(manifest.key and manifest.key.choices or {})) do
    local default = key == manifest.key.default and "default" or ""
    keys[#keys + 1] = { key, default, table.concat(manifest.key.choices[key], ", ") }
  end
  local key = {}
  for _, field in ipairs(manifest.key_fields or {}) do key[#key + 1] = field.name end
  for _, field in ipairs(template.fields(manifest, key)) do
    fields[#fields + 1] = { field.name, field.unit or "", field.help }
  end
  for _, feature in ipairs(words.keys(manifest.features)) do
    local declared = manifest.features[feature]
    local adds = {}
    for i, field in ipairs(declared.fields) do adds[i] = type(field) == "table" and field.name or field end
    features[#features + 1] = { feature, "", declared.help }
    if #adds > 0 then features[#features + 1] = { "", "", "adds " .. table.concat(adds, " ") } end
  end
  for _, knob in ipairs(words.keys(manifest.knobs)) do
    local declared = manifest.knobs[knob]
    local default = declared.default
    if declared.type == "patterns" then default = patterns.show(patterns.parse(default)) end
    knobs[#knobs + 1] = { knob, declared.unit or "", ("%s [%s]"):format(declared.help, tostring(default)) }
  end
  rows(context, "keys", keys)
  rows(context, "fields", fields)
  rows(context, "features", features)
  rows(context, "knobs", knobs)
  rows(context, "maps, and how a window's are read here", maps_of(manifest))
  context.out("\nhooks: " .. table.concat(manifest.hooks, ", "))
  if parsed.cost then return show_cost(manifest, context) end
  context.out(("\nWhat each feature costs: perilune templates %s --cost"):format(name))
  return context.exit.done
end

function templates.run(parsed, context)
  if parsed.cost and not parsed[1] then return context.fail "--cost needs a template's name" end
  if parsed[1] then return show(parsed[1], parsed, context) end
  return list(context)
end

return templates
