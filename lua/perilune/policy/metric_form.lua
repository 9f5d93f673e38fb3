-- SPDX-License-Identifier: Apache-2.0
--
-- The word metrics: which fields of a probe a scraper gets, and by which labels.
--
--   exports = {
--     metrics "totals" { "packets", "syn" },                     -- of every direction
--     metrics "from" { "bytes", "packets", series = 200 },       -- of every key; the first field ranks them
--     metrics "flows" { "bytes", by = { "dst" } },               -- of some fields of the key; by = {}: of all together
--   }
--
-- A metric is called perilune_TEMPLATE_FIELD (perilune_traffic_FIELD of counter, perilune_source_FIELD of own
-- code), in base units: what adds up is a counter, what does not (a fold of min, max or last) a gauge, a list
-- with classes a histogram. Labels: policy, probe, and the fields of the key.
--
-- At most `series` keys have series of their own (1000; at most 10,000), and what others count is in one whose
-- labels say `other`. A key of which nothing has come for `forget` (5m) loses its series; when it comes back,
-- its counters begin at 0 again, which scrapers know from _created.
--
-- What it costs: at a window's end some 2 µs for each row of the probe, and when somebody has asked since the
-- last window, some 3 µs for each counter of each series (perilune check says how much a scrape is at most);
-- packets cost nothing more.
--
-- Pure; metrics.lua does it.
local probes = require "perilune.probe.probes"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local template = require "perilune.probe.template"
local units = require "perilune.base.units"
local words = require "perilune.base.words"

local metric_form = {}

local MOST_SERIES = 10000
local SAMPLES = { counter = 2, gauge = 1, histogram = 28 } -- of a series in an exposition, at most
local SAMPLE_BYTES = 150 -- in an exposition, about

local function by(value)
  if type(value) == "string" then return { value } end
  if type(value) ~= "table" then return nil, "expected fields of the key", 'like by = { "src" }' end
  for key, name in pairs(value) do
    if type(key) ~= "number" or type(name) ~= "string" then
      return nil, "expected a list of fields of the key", 'like by = { "src" }'
    end
  end
  return { unpack(value) }
end

metric_form.SPEC = schema.new {
  what = "metrics",
  keys = {
    by = { type = by }, series = { type = "count", min = 1, max = MOST_SERIES, default = 1000 },
    forget = { type = "duration", min = 1, max = 86400 * 30, default = 300 },
  },
  items = { type = "text", noun = "a field" },
}

-- ---------------------------------------------------------------------------------------------- one field

-- Units of fields that say what a row is like. They are no amounts, but these are numbers.
local GAUGES = { number = true, time = true }

local SCALES = { bytes = { 1, "bytes" }, bits = { 1 / 8, "bytes" }, ns = { 1e-9, "seconds" }, time = { 1, "seconds" } }

-- The unit in front of what is said after a comma or in brackets, like "bytes".
local function scale_of(unit)
  local known = SCALES[(unit or ""):match "^%a+" or ""]
  if known then return known[1], known[2] end
  return 1, nil
end

local function name_of(probe, field)
  local name = ("perilune_%s_%s"):format(probe.manifest.metrics or probe.template, field.name)
  if field.unit == "bits" then name = name:gsub("_bits$", "_bytes") end
  if field.unit == "time" then name = name .. "_timestamp" end
  return name
end

local function fold_of(probe, field)
  if type(probe.fold) == "string" then return probe.fold end
  return probe.fold and probe.fold[field.name] or field.fold or (GAUGES[field.unit] and "last") or "sum"
end

-- Values are whole, so what is below 64 bytes is at most 63; of times, the ns by which that differs is left alone.
local function ends_of(classes, count)
  local scale, unit = scale_of(classes.unit)
  local ends = {}
  for k = 1, count do
    local first_above = classes.first * 2 ^ (k - 1)
    ends[k] = unit == "seconds" and first_above * scale or (first_above - 1) * scale
  end
  return ends
end

metric_form.ends = ends_of

local function family(probe, field, kind, unit)
  local name = name_of(probe, field)
  if kind == "histogram" and field.classes.unit == "ns" then name = name .. "_seconds" end
  if kind == "histogram" and unit == "bytes" then name = name .. "_bytes" end
  return { name = name, type = kind, unit = unit, help = field.help or field.name }
end

local function histogram(probe, field)
  local _, unit = scale_of(field.classes.unit)
  return {
    field = field.name, kind = "histogram", classes = field.classes, sum = field.classes.sum,
    family = family(probe, field, "histogram", unit),
  }
end

local function number(probe, field)
  local scale, unit = scale_of(field.unit)
  local fold = fold_of(probe, field)
  local kind = fold == "sum" and "counter" or "gauge"
  return { field = field.name, kind = kind, fold = fold, scale = scale, family = family(probe, field, kind, unit) }
end

local function find(probe, name)
  for _, field in ipairs(template.fields(probe.manifest, nil, probe.features)) do
    if field.name == name then return field end
  end
end

-- What becomes of a field: { field, kind, fold, scale, classes, sum, family } | nil, message, remedy.
local function metric_of(probe, name)
  local field = find(probe, name)
  if field and probe.fold ~= "none" then
    if field.list and field.classes then return histogram(probe, field) end
    if GAUGES[field.unit] and not field.list then return number(probe, field) end
  end
  local unit, message, remedy = probes.field(probe, name)
  if not unit then return nil, message, remedy end
  return number(probe, field)
end

-- ---------------------------------------------------------------------------------------------- one probe

local RESERVED = { policy = true, probe = true, le = true }

local function has(list, name)
  for _, one in ipairs(list) do
    if one == name then return true end
  end
  return false
end

-- Fields that tell rows apart, as labels. A probe without keys has a row for each direction, if anything.
local function keys_of(probe)
  if probe.manifest.rows then return probe.key or {} end
  return find(probe, "direction") and { "direction" } or {}
end

local function labels_of(one, probe)
  local known = keys_of(probe)
  if probe.manifest.rows and #known == 0 and not one.values.by then
    sandbox.fail(one.at, ("metrics: the rows of %s have no key to label them by"):format(probes.title(probe)),
      "by = {}: all rows together")
  end
  local labels = {}
  for i, name in ipairs(one.values.by or known) do
    if not has(known, name) then
      sandbox.fail(one.at, ("metrics: by: %s is not in the key of %s"):format(units.quote(name), probes.title(probe)),
        words.suggest(name, known, "it has none: by = {}"))
    end
    labels[i] = { field = name, name = RESERVED[name] and "key_" .. name or name }
  end
  return labels, #labels == #known
end

-- Directions that the hook sees: their counters are there, at 0, before anything is counted.
local function directions_of(labels, hook)
  if #labels ~= 1 or labels[1].field ~= "direction" then return nil end
  if hook == "tc" then return { "ingress", "egress" } end
  return { hook == "tc.egress" and "egress" or "ingress" }
end

local function fields_of(one, probe, whole)
  local fields, seen = {}, {}
  for _, name in ipairs(one.items) do
    local metric, message, remedy = metric_of(probe, name)
    if not metric then sandbox.fail(one.at, "metrics: " .. message, remedy) end
    if seen[name] then sandbox.fail(one.at, ("metrics: %s is there twice"):format(name), "once is enough") end
    if metric.fold == "last" and not whole then
      sandbox.fail(one.at, ("metrics: %s.%s is of one row, and by puts several together"):format(probe.name, name),
        "leave out the field, or by")
    end
    seen[name] = true
    fields[#fields + 1] = metric
  end
  if #fields == 0 then
    sandbox.fail(one.at, ('metrics "%s": which fields?'):format(probe.name), 'like metrics "name" { "packets" }')
  end
  return fields
end

local function declare(one, map, hook)
  local probe = map[one.name]
  if not probe then
    sandbox.fail(one.at, ('metrics: there is no probe "%s"'):format(one.name),
      words.suggest(one.name, words.keys(map)))
  end
  local labels, whole = labels_of(one, probe)
  return {
    probe = probe.name, template = probe.template, labels = labels, fields = fields_of(one, probe, whole),
    series = probe.manifest.rows and one.values.series or 16, forget = one.values.forget,
    directions = not probe.manifest.rows and directions_of(labels, hook) or nil, line = one.at.line,
  }
end

--- The declarations of all forms "metrics" among the exports of a policy. map: its probes by name. Fails,
--- located, at the first that does not fit.
function metric_form.list(exports, map, hook)
  local list, seen = {}, {}
  for _, one in ipairs(exports) do
    if one.form == "metrics" then
      if seen[one.name] then
        sandbox.fail(one.at, ('there are two of metrics "%s"'):format(one.name),
          ("the first is in line %d"):format(seen[one.name]))
      end
      seen[one.name] = one.at.line
      list[#list + 1] = declare(one, map, hook)
    end
  end
  return list
end

--- What an exposition has at most, for people: series (of keys), samples, bytes.
function metric_form.most(declared)
  local samples, series = 0, 1
  for _, field in ipairs(declared.fields) do samples = samples + SAMPLES[field.kind] end
  if declared.directions then
    series = #declared.directions
  elseif #declared.labels > 0 then
    series = declared.series + 1
  end
  return { series = series, samples = series * samples, bytes = series * samples * SAMPLE_BYTES }
end

return metric_form
