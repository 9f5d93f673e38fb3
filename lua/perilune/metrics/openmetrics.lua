-- SPDX-License-Identifier: Apache-2.0
--
-- Metrics as scrapers read them: OpenMetrics 1.0, and Prometheus's text format 0.0.4 for those that ask for nothing
-- better. Pure: values in, text out.
--
--   local bytes = openmetrics.family { name = "wire_bytes", type = "counter", unit = "bytes", help = "what went by" }
--   bytes:add(openmetrics.labels { { "iface", "eth0" } }, 4711, created)
--   local text = openmetrics.write({ bytes }, openmetrics.negotiate(accept))
--
-- A family keeps its samples as the lines of OpenMetrics; the other format is made of them when it is asked for. What a
-- family is called has no _total, and ends in its unit. Units are base units: seconds, bytes, ratio.
--
-- Types: counter gauge histogram info stateset unknown. Label names that are none, and texts that are no UTF-8, become
-- ones that are.
local format = require "perilune.base.format"

local openmetrics = {}

openmetrics.TYPES = { "counter", "gauge", "histogram", "info", "stateset", "unknown" }

openmetrics.content_type = {
  openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8",
  text = "text/plain; version=0.0.4; charset=utf-8",
}

local WHOLE = 2 ^ 53 -- up to here, every whole number is one
local ESCAPES = { ["\\"] = "\\\\", ['"'] = '\\"', ["\n"] = "\\n" }

--- A number as both formats write it.
function openmetrics.number(value)
  if value ~= value then return "NaN" end
  if value == math.huge then return "+Inf" end
  if value == -math.huge then return "-Inf" end
  if value == math.floor(value) and math.abs(value) <= WHOLE then return ("%.0f"):format(value) end
  local text = ("%.15g"):format(value)
  return tonumber(text) == value and text or ("%.17g"):format(value)
end

-- The end of a bucket: always as a number with a point or an exponent, as the format wants it.
local function bound(value)
  local text = openmetrics.number(value)
  return text:find "^%d+$" and text .. ".0" or text
end

local function escape(text) return (format.utf8(text):gsub('[\\"\n]', ESCAPES)) end

local function help_text(text) return (format.utf8(text):gsub("[\\\n]", ESCAPES)) end

--- A name that both formats take, of any text: what may not be in it becomes _.
function openmetrics.name(text)
  text = text:gsub("[^%w_]", "_")
  return text:find "^%d" and "_" .. text or text == "" and "_" or text
end

--- Labels, a list of { name, value }, as they stand between the braces. Empty values are no label at all.
function openmetrics.labels(list)
  local out = {}
  for _, pair in ipairs(list) do
    local value = tostring(pair[2])
    if value ~= "" then out[#out + 1] = ('%s="%s"'):format(openmetrics.name(pair[1]), escape(value)) end
  end
  return table.concat(out, ",")
end

local function braces(labels, more)
  if more then labels = labels ~= "" and labels .. "," .. more or more end
  return labels ~= "" and "{" .. labels .. "}" or ""
end

-- ---------------------------------------------------------------------------------------------- families

local Family = {}
Family.__index = Family

--- spec: name, type, help, unit (none for most).
function openmetrics.family(spec)
  local name = openmetrics.name(spec.name)
  local family = { name = name, type = spec.type, help = spec.help or "", unit = spec.unit, lines = {} }
  if family.unit and name:sub(-#family.unit - 1) ~= "_" .. family.unit then
    family.name = name .. "_" .. openmetrics.name(family.unit)
  end
  return setmetatable(family, Family)
end

local function line(self, suffix, labels, value)
  self.lines[#self.lines + 1] = ("%s%s%s %s\n"):format(self.name, suffix, labels, value)
end

local function created_line(self, labels, created)
  if created then line(self, "_created", labels, ("%.3f"):format(created)) end
end

--- A sample of a counter, gauge or unknown. labels: text of openmetrics.labels; created: when the counter began at 0,
--- in seconds since the epoch, if that is known.
function Family:add(labels, value, created)
  labels = braces(labels)
  local counter = self.type == "counter"
  line(self, counter and "_total" or "", labels, openmetrics.number(value))
  if counter then created_line(self, labels, created) end
end

--- For a counter that is written again and again: what add() makes of labels and created, for prepared().
function Family:prepare(labels, created)
  labels = braces(labels)
  return {
    before = ("%s_total%s "):format(self.name, labels),
    after = ("\n%s_created%s %.3f\n"):format(self.name, labels, created),
  }
end

--- The same as add().
function Family:prepared(known, value)
  self.lines[#self.lines + 1] = known.before .. openmetrics.number(value) .. known.after
end

--- A sample of a histogram. ends: of its buckets, ascending, but for the last, which has none; counts: one more than
--- that, each of its bucket alone; sum: of all values, if it is known.
function Family:histogram(labels, ends, counts, sum, created)
  local running = 0
  for i, count in ipairs(counts) do
    running = running + count
    local le = ends[i] and bound(ends[i]) or "+Inf"
    line(self, "_bucket", braces(labels, ('le="%s"'):format(le)), openmetrics.number(running))
  end
  if sum then
    line(self, "_count", braces(labels), openmetrics.number(running))
    line(self, "_sum", braces(labels), openmetrics.number(sum))
  end
  created_line(self, braces(labels), created)
end

--- A sample of an info: its labels are what it says.
function Family:info(labels) line(self, "_info", braces(labels), "1") end

--- A sample of a stateset: names of all states, and the one that is so (or a set of them).
function Family:states(labels, names, on)
  for _, name in ipairs(names) do
    local is_on = type(on) == "table" and on[name] or on == name
    line(self, "", braces(labels, ('%s="%s"'):format(self.name, escape(name))), is_on and "1" or "0")
  end
end

--- What it is and its samples, as plain data that goes through a channel; openmetrics.take makes a family of it again.
function Family:plain()
  return { name = self.name, type = self.type, help = self.help, unit = self.unit, text = table.concat(self.lines) }
end

--- nil when it is not what plain() gave.
function openmetrics.take(plain)
  if type(plain) ~= "table" then return nil end
  for _, key in ipairs { "name", "type", "help", "text" } do
    if type(plain[key]) ~= "string" then return nil end
  end
  local family = openmetrics.family { name = plain.name, type = plain.type, help = plain.help,
    unit = type(plain.unit) == "string" and plain.unit or nil }
  family.lines[1] = plain.text
  return family
end

-- ---------------------------------------------------------------------------------------------- the two formats

local OLD_TYPES = { info = "gauge", stateset = "gauge", unknown = "untyped" }
local OLD_SUFFIXES = { counter = "_total", info = "_info" }

-- Without the lines of when counters began: there they would be metrics of their own, without a type.
local function without_created(family, text)
  if family.type ~= "counter" and family.type ~= "histogram" then return text end
  return (("\n" .. text):gsub("\n" .. family.name .. "_created[^\n]*", ""):sub(2))
end

local function head(out, family, which)
  if which == "openmetrics" then
    out[#out + 1] = ("# HELP %s %s\n"):format(family.name, (help_text(family.help):gsub('"', '\\"')))
    out[#out + 1] = ("# TYPE %s %s\n"):format(family.name, family.type)
    if family.unit then out[#out + 1] = ("# UNIT %s %s\n"):format(family.name, family.unit) end
  else
    local name = family.name .. (OLD_SUFFIXES[family.type] or "")
    out[#out + 1] = ("# HELP %s %s\n"):format(name, help_text(family.help))
    out[#out + 1] = ("# TYPE %s %s\n"):format(name, OLD_TYPES[family.type] or family.type)
  end
end

-- Families of one name become one, whose samples stand together. Of what does not fit the first of its name, nothing is
-- written: { name, … } tells of them.
local function merge(families)
  local order, by_name, misfits = {}, {}, {}
  for _, family in ipairs(families) do
    local known = by_name[family.name]
    if not known then
      known = { family = family, parts = {} }
      by_name[family.name], order[#order + 1] = known, known
    end
    if known.family.type == family.type and known.family.unit == family.unit then
      known.parts[#known.parts + 1] = table.concat(family.lines)
    else
      misfits[#misfits + 1] = family.name
    end
  end
  return order, misfits
end

--- The exposition of a list of families, in their order, as "openmetrics" or "text"; and the names of families that are
--- left out, since another of that name is of another type. Families without samples are left out as well.
function openmetrics.write(families, which)
  local order, misfits = merge(families)
  local out = {}
  for _, one in ipairs(order) do
    local text = table.concat(one.parts)
    if text ~= "" then
      head(out, one.family, which)
      out[#out + 1] = which == "openmetrics" and text or without_created(one.family, text)
    end
  end
  if which == "openmetrics" then out[#out + 1] = "# EOF\n" end
  return table.concat(out), misfits
end

-- ---------------------------------------------------------------------------------------------- which one

local OFFERED = {
  ["application/openmetrics-text"] = "openmetrics", ["text/plain"] = "text", ["text/*"] = "text",
}

local function version_of(parameters) return parameters:match ';%s*version%s*=%s*"?([%w%.]+)' end

local VERSIONS = { openmetrics = { ["1.0.0"] = true, ["0.0.1"] = true }, text = { ["0.0.4"] = true } }

--- Which format an Accept header (nil: none) asks for: the one of the greatest q, OpenMetrics where both are wanted
--- alike. A version that is not spoken here is not meant. default: of who does not say ("text" without).
function openmetrics.negotiate(accept, default)
  local best, best_q = default or "text", 0
  for part in (accept or ""):gmatch "[^,]+" do
    local kind, parameters = part:lower():match "^%s*([^;%s]+)%s*(.*)$"
    local offered = kind == "*/*" and (default or "text") or OFFERED[kind]
    local version = offered and version_of(parameters)
    local q = offered and tonumber(parameters:match ";%s*q%s*=%s*([%d%.]+)") or 1
    if offered and (not version or VERSIONS[offered][version])
      and (q > best_q or q == best_q and offered == "openmetrics") then
      best, best_q = offered, q
    end
  end
  return best
end

return openmetrics
