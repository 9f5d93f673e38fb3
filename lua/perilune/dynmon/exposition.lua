-- SPDX-License-Identifier: Apache-2.0
--
-- A monitor's metrics for scrapers. What each says is: the metric's own labels; `path`; the key's fields; `index`,
-- where an array has more than one element; `cpu`, where each has a value of its own. Values that are structs become a
-- metric for each member that is a number.
local json = require "perilune.base.json"
local openmetrics = require "perilune.metrics.openmetrics"

local exposition = {}

local MOST_SAMPLES = 10000 -- of a metric: a scraper chokes on more

-- Adds what is in `value` to `out` as { name suffix, number }.
local function numbers(value, suffix, out)
  if type(value) == "number" then
    out[#out + 1] = { suffix, value }
  elseif type(value) == "boolean" then
    out[#out + 1] = { suffix, value and 1 or 0 }
  elseif type(value) == "table" and #value == 0 then
    local names = {}
    for name in pairs(value) do names[#names + 1] = name end
    table.sort(names)
    for _, name in ipairs(names) do numbers(value[name], suffix .. "_" .. name, out) end
  end
end

-- A key as labels: its members, or `key`.
local function add_key(labels, key, name)
  if type(key) ~= "table" then
    labels[#labels + 1] = { name, type(key) == "number" and openmetrics.number(key) or tostring(key) }
  elseif #key > 0 then
    local parts = {}
    for i, part in ipairs(key) do parts[i] = type(part) == "table" and json.encode(part) or tostring(part) end
    labels[#labels + 1] = { name, table.concat(parts, " ") }
  else
    local names = {}
    for member in pairs(key) do names[#names + 1] = member end
    table.sort(names)
    for _, member in ipairs(names) do
      add_key(labels, key[member], name == "key" and member or name .. "_" .. member)
    end
  end
end

-- Names of labels are there once: the first stays.
local function unique(labels)
  local seen, out = {}, {}
  for _, pair in ipairs(labels) do
    local name = openmetrics.name(pair[1])
    if not seen[name] then seen[name], out[#out + 1] = true, pair end
  end
  return out
end

local function family_name(metric, suffix)
  local name = openmetrics.name(metric.name)
  if metric.meta.type == "counter" then name = name:gsub("_total$", "") end
  return name .. (suffix ~= "" and openmetrics.name(suffix) or "")
end

--- A collector: collector:add(reading, batch); collector:families() → list, names of metrics that were cut off.
local Collector = {}
Collector.__index = Collector

--- created: when the counters began, in seconds since the epoch.
function exposition.new(created)
  return setmetatable({ list = {}, by_name = {}, created = created, cut = {} }, Collector)
end

function Collector:family(metric, suffix)
  local name = family_name(metric, suffix)
  local family = self.by_name[name]
  if not family then
    family = openmetrics.family { name = name, type = metric.meta.type, help = metric.meta.help }
    self.by_name[name], self.list[#self.list + 1] = family, family
  end
  return family
end

function Collector:sample(reading, labels, value)
  local found = {}
  numbers(value, "", found)
  for _, one in ipairs(found) do
    local family = self:family(reading.metric, one[1])
    if family.type == reading.metric.meta.type then
      family:add(openmetrics.labels(unique(labels)), one[2], self.created)
    end
  end
end

function Collector:add(reading, batch)
  local text = batch:json(nil, MOST_SAMPLES, "entry")
  local rows = text and json.decode(text) or {}
  if batch:count() > MOST_SAMPLES then self.cut[#self.cut + 1] = reading.metric.name end
  for _, row in ipairs(rows) do
    local labels = {}
    for i, pair in ipairs(reading.metric.meta.labels) do labels[i] = pair end
    labels[#labels + 1] = { "path", reading.side }
    if not reading.array then
      add_key(labels, row.key, "key")
    elseif #rows > 1 then
      labels[#labels + 1] = { "index", openmetrics.number(row.key) }
    end
    if reading.percpu and type(row.value) == "table" then
      for cpu, value in ipairs(row.value) do
        local more = { unpack(labels) }
        more[#more + 1] = { "cpu", tostring(cpu - 1) }
        self:sample(reading, more, value)
      end
    else
      self:sample(reading, labels, row.value)
    end
  end
end

function Collector:families() return self.list, self.cut end

return exposition
