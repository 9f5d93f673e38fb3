-- SPDX-License-Identifier: Apache-2.0
--
-- What Dynmon's interface says of a monitor, checked: { ["ingress-path"] = path, ["egress-path"] = path } with paths of
-- { name, code, ["metric-configs"] = { { name, ["map-name"], ["extraction-options"], ["open-metrics-metadata"] } } }.
-- `{}` is a path that is not set.
--
-- A path becomes { name, code, metrics = { { name, map, empty, swap, meta = { help, type, labels } } } }, with `nil`
-- for what is not said, and back.
local json = require "perilune.base.json"
local words = require "perilune.base.words"

local configuration = {}

configuration.PATHS = { "ingress", "egress" }
configuration.TYPES = { "TC", "XDP_SKB", "XDP_DRV" }

local METRIC_TYPES = { counter = "counter", gauge = "gauge", histogram = "unknown", summary = "unknown",
  untyped = "unknown" }
local MOST_METRICS = 64

local function fail(where, ...) error({ what = where .. ": " .. (...):format(select(2, ...)) }, 0) end

local function given(value) return value ~= nil and value ~= json.null and value or nil end

-- The members of an object, of which none is unknown.
local function members(value, where, known)
  if type(value) ~= "table" or #value > 0 then fail(where, "an object is expected") end
  for name in pairs(value) do
    local found = false
    for _, one in ipairs(known) do found = found or one == name end
    if not found then
      fail(where, "there is no member %s (%s)", tostring(name), words.suggest(tostring(name), known))
    end
  end
  return value
end

local function text(value, where, what, default)
  value = given(value)
  if value == nil then value = default end
  if type(value) ~= "string" then fail(where, "%s: a text is expected", what) end
  return value
end

local function flag(value, where, what)
  if value == json.null or value == nil then return false end
  if type(value) ~= "boolean" then fail(where, "%s: true or false is expected", what) end
  return value
end

local function list(value, where, what)
  value = given(value) or {}
  if type(value) ~= "table" or (next(value) ~= nil and #value == 0) then fail(where, "%s: a list is expected", what) end
  return value
end

local function read_metadata(value, where)
  value = members(value, where, { "help", "type", "labels" })
  local said = text(value.type, where, "type"):lower()
  if not METRIC_TYPES[said] then
    fail(where, 'there is no type "%s" (%s)', said, words.suggest(said, words.keys(METRIC_TYPES)))
  end
  local meta = { help = text(value.help, where, "help"), said = said, type = METRIC_TYPES[said], labels = {} }
  for i, label in ipairs(list(value.labels, where, "labels")) do
    label = members(label, where .. ": labels", { "name", "value" })
    meta.labels[i] = { text(label.name, where, "a label's name"), text(label.value, where, "a label's value") }
  end
  return meta
end

local function read_metric(value, where)
  value = members(value, where, { "name", "map-name", "extraction-options", "open-metrics-metadata" })
  local metric = { name = text(value.name, where, "a metric's name") }
  where = ('%s: metric "%s"'):format(where, metric.name)
  if metric.name == "" or metric.name:find "[%c/]" then fail(where, "this is no name") end
  metric.map = text(value["map-name"], where, "map-name")
  local options = members(given(value["extraction-options"]) or {}, where, { "empty-on-read", "swap-on-read" })
  metric.empty = flag(options["empty-on-read"], where, "empty-on-read")
  metric.swap = flag(options["swap-on-read"], where, "swap-on-read")
  local meta = given(value["open-metrics-metadata"])
  if meta then metric.meta = read_metadata(meta, where) end
  return metric
end

local function guard(fn)
  local ok, value = pcall(fn)
  if ok then return value end
  if type(value) ~= "table" then error(value, 0) end
  return nil, value.what
end

-- false: not set.
local function read_path(value, where)
  value = members(value, where, { "name", "code", "metric-configs" })
  if next(value) == nil then return false end
  local name = text(value.name, where, "name", "unnamed")
  local path = { name = name, code = text(value.code, where, "code"), metrics = {} }
  local seen = {}
  local metrics = list(value["metric-configs"], where, "metric-configs")
  if #metrics > MOST_METRICS then fail(where, "more than %d metrics", MOST_METRICS) end
  for i, one in ipairs(metrics) do
    local metric = read_metric(one, where)
    if seen[metric.name] then fail(where, 'two metrics are called "%s"', metric.name) end
    seen[metric.name], path.metrics[i] = true, metric
  end
  return path
end

--- A path | false: it is not set | nil, message. where: "ingress-path" or "egress-path".
function configuration.path(value, where)
  return guard(function() return read_path(value, where) end)
end

--- { ingress = path | false | nil: nothing is said of it, egress = … } | nil, message.
function configuration.paths(value)
  return guard(function()
    value = members(value, "dataplane-config", { "ingress-path", "egress-path" })
    local paths = {}
    for _, side in ipairs(configuration.PATHS) do
      local said = given(value[side .. "-path"])
      if said ~= nil then paths[side] = read_path(said, side .. "-path") end
    end
    return paths
  end)
end

-- ---------------------------------------------------------------------------------------------- and back

local function show_metadata(meta)
  if not meta then return nil end
  local labels = {}
  for i, label in ipairs(meta.labels) do labels[i] = { name = label[1], value = label[2] } end
  return json.object { { "help", meta.help }, { "type", meta.said }, { "labels", json.array(labels) } }
end

--- A path as its JSON value; {} for one that is not set.
function configuration.show_path(path)
  if not path then return json.object {} end
  local metrics = {}
  for i, metric in ipairs(path.metrics) do
    metrics[i] = json.object {
      { "name", metric.name }, { "map-name", metric.map },
      { "extraction-options", json.object {
        { "empty-on-read", metric.empty }, { "swap-on-read", metric.swap },
      } },
      { "open-metrics-metadata", show_metadata(metric.meta) },
    }
  end
  return json.object { { "name", path.name }, { "code", path.code }, { "metric-configs", json.array(metrics) } }
end

function configuration.show(paths)
  return json.object {
    { "ingress-path", configuration.show_path(paths.ingress) },
    { "egress-path", configuration.show_path(paths.egress) },
  }
end

return configuration
