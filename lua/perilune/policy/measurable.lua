-- SPDX-License-Identifier: Apache-2.0
--
-- Which measure can be taken of which field of a probe, in which unit, and what the engine has to know for it.
--
--   rate sum                 of amounts: what a probe counts. A rate is a sum per second of the window.
--   mean                     of amounts and plain numbers: the sum by the number of rows
--   min max quantile         of amounts and plain numbers, over the rows. A quantile is by nearest rank
-- (quantile.lua),
--                            and may also be of a histogram: interpolated within its class (histogram.lua).
--   distinct                 of any field: how many values it has among the rows
--   entropy                  of an amount: how evenly it is spread over the rows; of a field of the key: how evenly
--                            packets are spread over its values (entropy.lua). A share: from 0 to 1.
--   count                    the rows
--
-- Without rows, sum, count, mean, max, quantile and distinct are 0; min and entropy are not known, and conditions on
-- them false: a `clear` on one of these alone never holds once its rows are gone.
--
-- Units: bytes are a size, ns a duration (shown and compared as such), all other amounts a count.

local probes = require "perilune.probe.probes"
local template = require "perilune.probe.template"
local words = require "perilune.base.words"

local measurable = {}

local OVER_ROWS = {
  count = true, mean = true, min = true, max = true, distinct = true, quantile = true, entropy = true,
}
local OF_NUMBERS = { mean = true, min = true, max = true, quantile = true }
local NS = 1e-9

-- The field's description in the manifest, if this probe has it, and whether it is in the key.
local function find(probe, name)
  for _, key in ipairs(probe.key or {}) do
    if key == name then return template.fields(probe.manifest, { key }, {})[1], true end
  end
  for _, field in ipairs(template.fields(probe.manifest, nil, probe.features)) do
    if field.name == name then return field, false end
  end
end

local function unit_of(word)
  if word == "ns" then return "duration", NS end
  return word and word:find "^bytes" and "size" or "count"
end

-- → unit, what the engine needs | nil, message, remedy
local function of_histogram(probe, field)
  local own = probe.name .. "." .. field.name
  if not field.classes then
    return nil, own .. " is a list without an order, not a histogram", "read it in a function: w." .. probe.name
  end
  local unit, scale = unit_of(field.classes.unit)
  return unit, { classes = field.classes, scale = scale }
end

-- What a key's values are weighed by.
local function weight_of(probe)
  return find(probe, "packets") and "packets" or nil
end

local function known_of(probe)
  local names = {}
  for i, field in ipairs(template.fields(probe.manifest, probe.key, probe.features)) do names[i] = field.name end
  return names
end

local function amount(probe, field, name)
  local unit, message, remedy = probes.field(probe, name)
  if not unit then return nil, message, remedy end
  local scale
  unit, scale = unit_of(field.unit)
  return unit, { scale = scale }
end

--- The unit of a measure of this kind of a field of the probe, and { scale =, classes =, by =, weight = }; or nil,
--- message, remedy. scale: what a figure is multiplied by; classes: of the histogram that the field is; by: the field
--- of the key whose values are the parts, and weight: what weighs them (nil: rows).
function measurable.look(probe, kind, name)
  if kind == "count" then return "count", {} end
  local field, in_key = find(probe, name)
  if field and probe.fold ~= "none" then
    if kind == "distinct" and not field.list then return "count", {} end
    if kind == "entropy" and in_key then return "share", { by = name, weight = weight_of(probe) } end
    if kind == "quantile" and field.list then return of_histogram(probe, field) end
    if OF_NUMBERS[kind] and field.unit == "number" and not in_key then return "count", {} end
  end
  if not field and kind == "distinct" then
    local _, message, remedy = probes.field(probe, name)
    return nil, message, remedy:find "^features" and remedy or words.suggest(name, known_of(probe))
  end
  local unit, about, remedy = amount(probe, field, name)
  if unit and kind == "entropy" then return "share", {} end
  return unit, about, remedy
end

--- Whether a measure of this kind is about rows, which not every template has; a histogram is there without them.
function measurable.needs_rows(probe, kind, name)
  if kind ~= "quantile" then return OVER_ROWS[kind] or false end
  local field = find(probe, name)
  return not (field and field.list)
end

return measurable
