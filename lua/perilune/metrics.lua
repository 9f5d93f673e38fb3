-- SPDX-License-Identifier: Apache-2.0
--
-- What a policy's metrics (metric_form.lua) stand at: every window is added to totals that only grow. Pure;
-- whoever reads them changes nothing.
--
-- A series belongs to a key. In each window, keys that have one are added to theirs; then those that have been
-- silent for long enough lose it, and the largest of the new ones get what there is room for; the rest, and
-- what found no room in the probe's own map, is added to the series `other`. So what all series of a metric
-- have grown by is what the probe has counted.
local ends_of = require("perilune.metric_form").ends
local group = require "perilune.group"
local openmetrics = require "perilune.openmetrics"
local sameness = require "perilune.sameness"
local view = require "perilune.view"

local metrics = {}

local TOGETHER = 20 -- fields that one pass over the rows adds up
local WHOLE = 2 ^ 53 -- a counter that would pass it begins anew: from there on it would be a little wrong
local OTHER = "other"

-- What the values of field i, and the sum of a histogram's, are called in a pass.
local NAMES = setmetatable({}, { __index = function(names, i)
  names[i] = "f" .. i
  return names[i]
end })
local SUMS = setmetatable({}, { __index = function(names, i)
  names[i] = "s" .. i
  return names[i]
end })

-- ---------------------------------------------------------------------------------------------- values of a
-- window

-- How values of several rows become one.
local STEPS = {
  sum = function(a, b) return a + b end, min = math.min, max = math.max, last = function(_, b) return b end,
}

-- How rows of one key do: where a field says something of one row, there is one.
local AGGREGATES = { sum = "sum", min = "min", max = "max", last = "max" }

local function passes_of(fields)
  local passes, current = {}, nil
  for i, field in ipairs(fields) do
    local name = NAMES[i]
    if field.kind == "histogram" then
      passes[#passes + 1] = { { name = name, kind = "histogram", field = field.field } }
    else
      if not current or #current == TOGETHER then
        current = {}
        passes[#passes + 1] = current
      end
      current[#current + 1] = { name = name, kind = AGGREGATES[field.fold], field = field.field }
    end
    if field.sum then passes[#passes + 1] = { { name = SUMS[i], kind = "sum", field = field.sum } } end
  end
  return passes
end

-- A value, or for histograms { counts, sum = }, of several added to another one.
local function merge(field, into, value)
  if into == nil then return value end
  if field.kind ~= "histogram" then return STEPS[field.fold](into, value) end
  for i, count in ipairs(value) do into[i] = (into[i] or 0) + count end
  into.sum = into.sum and value.sum and into.sum + value.sum or nil
  return into
end

-- The values of a group as a list, in the order of the fields; parts of them come with every pass.
local function take_values(fields, into, values)
  for i = 1, #fields do
    local value = values[NAMES[i]]
    if value ~= nil then
      into[i] = value
    elseif values[SUMS[i]] and into[i] then
      into[i].sum = values[SUMS[i]]
    end
  end
end

-- ---------------------------------------------------------------------------------------------- series

-- A counter's new value; what passes 2^53 begins anew, and so does the series, for whoever reads it.
local function grow(series, i, by, at)
  local value = (series[i] or 0) + by
  if value <= WHOLE then
    series[i] = value
  else
    series[i], series.reset[i] = by, at
  end
end

local function add_to(series, fields, values, at)
  for i, field in ipairs(fields) do
    local value = values[i]
    if value ~= nil then
      if field.kind == "counter" then
        grow(series, i, value, at)
      elseif field.kind == "histogram" then
        series[i] = merge(field, series[i] or { sum = value.sum and 0 }, value)
      elseif value == value then
        series[i] = value
      end
    end
  end
end

local Carry = {}
Carry.__index = Carry

-- at: seconds since the epoch at which all counters are 0.
local function new_carry(declared, labels, at)
  local self = setmetatable({
    declared = declared, fields = declared.fields, passes = passes_of(declared.fields), labels = labels,
    by_key = {}, by_text = {}, list = {}, began = at, clock = 0, sweep_at = declared.forget,
  }, Carry)
  local keys = {}
  for i, label in ipairs(declared.labels) do keys[i] = label.field end
  self.key = #keys > 0 and keys or nil
  for _, direction in ipairs(declared.directions or {}) do self:admit({ direction }, at).fixed = true end
  if self.key and not declared.directions then
    local others = {}
    for i in ipairs(keys) do others[i] = OTHER end
    self.other = self:admit(others, at)
  end
  return self
end

function Carry:labels_of(texts)
  local labels = { unpack(self.labels) }
  for i, label in ipairs(self.declared.labels) do labels[#labels + 1] = { label.name, texts[i] } end
  return openmetrics.labels(labels)
end

-- The series with these texts of its key, which gets one if it has none yet.
function Carry:admit(texts, at)
  local text = self:labels_of(texts)
  local series = self.by_text[text]
  if not series then
    series = { labels = text, created = at, reset = {}, lines = {}, seen = self.clock }
    for i, field in ipairs(self.fields) do
      if field.kind == "counter" then series[i] = 0 end
    end
    self.by_text[text] = series
    self.list[#self.list + 1] = series
  end
  return series
end

-- Series of which nothing has come for long are no more.
function Carry:sweep()
  local left, kept = {}, self.clock - self.declared.forget
  for _, series in ipairs(self.list) do
    if series == self.other or series.fixed or series.seen >= kept then
      left[#left + 1] = series
    else
      self.by_text[series.labels] = nil
      series.gone = true
    end
  end
  if #left == #self.list then return end
  self.list = left
  for key, series in pairs(self.by_key) do
    if series.gone then self.by_key[key] = nil end
  end
end

-- How much a value of a key is: of a histogram all that is in it.
local function size_of(value)
  if type(value) ~= "table" then return value == value and value or 0 end
  local sum = 0
  for _, count in ipairs(value) do sum = sum + count end
  return sum
end

-- Whether anything was counted. A direction that the hook does not see has a row too.
local function is_something(fields, values)
  for i, field in ipairs(fields) do
    if values[i] ~= nil and (field.kind == "gauge" or size_of(values[i]) ~= 0) then return true end
  end
  return false
end

-- What the rows of a window say, by key: a list of { values …, key = raw, record = number of its first record }.
function Carry:read(rows)
  local found, order = {}, {}
  local key = self.key or { rows:fields()[1] }
  for _, pass in ipairs(self.passes) do
    group.each(rows, { key }, pass, function(raws, values, record)
      local raw = raws[1]
      local one = found[raw]
      if not one then
        one = { key = raw, record = record }
        found[raw], order[#order + 1] = one, one
      end
      take_values(self.fields, one, values)
    end)
  end
  return order
end

-- The texts of a key. They cost more than all else about a row, so that only who gets a series has them.
local function texts_of(self, rows, one)
  local texts = {}
  for i, name in ipairs(self.key) do texts[i] = group.text(rows, name, one.record) end
  return texts
end

-- The largest of the new ones get a series, as long as there is room; what is left is the other's.
function Carry:settle(rows, fresh, at)
  local room = self.declared.series - #self.list + (self.other and 1 or 0)
  if #fresh > room and room > 0 then
    for i, one in ipairs(fresh) do one.size, one.order = size_of(one[1]), i end
    table.sort(fresh, function(a, b)
      if a.size ~= b.size then return a.size > b.size end
      return a.order < b.order
    end)
  end
  for _, one in ipairs(fresh) do
    local series = self.other
    if room > 0 then
      local before = #self.list
      series = self:admit(texts_of(self, rows, one), at)
      room = room - (#self.list - before)
      self.by_key[one.key] = series
      series.seen = self.clock
    end
    if series then add_to(series, self.fields, one, at) end
  end
end

-- What found no room in the probe's map.
function Carry:add_other(other, at)
  local values = {}
  for i, field in ipairs(self.fields) do
    if field.kind == "counter" and view.has(other, field.field) then
      values[i] = other:sum(field.field)
    elseif field.kind == "histogram" and view.has(other, field.field) then
      for _, row in other:rows() do
        local counts = row[field.field]
        counts.sum = field.sum and row[field.sum] or nil
        values[i] = merge(field, values[i], counts)
      end
    end
  end
  add_to(self.other or self.list[1] or self:admit({}, at), self.fields, values, at)
end

--- A window: its rows of the probe, its row of what found no room (or nil), how long it was, and when it began
--- (seconds since the epoch).
function Carry:take(rows, other, seconds, at)
  self.clock = self.clock + seconds
  local fresh, whole = {}, nil
  for _, one in ipairs(self:read(rows)) do
    local series = self.by_key[one.key]
    if series then
      add_to(series, self.fields, one, at)
      series.seen = self.clock
    elseif not self.key then
      whole = whole or {}
      for i, field in ipairs(self.fields) do whole[i] = merge(field, whole[i], one[i]) end
    elseif is_something(self.fields, one) or self.by_text[self:labels_of(texts_of(self, rows, one))] then
      fresh[#fresh + 1] = one
    end
  end
  if whole then add_to(self:admit({}, self.began), self.fields, whole, at) end
  if self.clock >= self.sweep_at or #fresh > 0 then
    self:sweep()
    self.sweep_at = self.clock + self.declared.forget / 4
  end
  if #fresh > 0 then self:settle(rows, fresh, at) end
  if other then self:add_other(other, at) end
end

-- ---------------------------------------------------------------------------------------------- of a whole policy

local Metrics = {}
Metrics.__index = Metrics

local function probe_of(decl, name)
  for _, probe in ipairs(decl.probes) do
    if probe.name == name then return probe end
  end
end

-- Whether a declared metric of another declaration is the same, of the same.
local function same(carry, declared, before, decl)
  return sameness.equal(carry.declared, declared)
    and sameness.equal(probe_of(before, declared.probe), probe_of(decl, declared.probe))
end

--- decl: a policy's declaration.
function metrics.new(decl) return setmetatable({ decl = decl, carries = {} }, Metrics) end

--- Another declaration of the policy runs: what means the same goes on, the rest begins at 0.
function Metrics:become(decl)
  local carries = {}
  for _, declared in ipairs(decl.metrics) do
    local carry = self.carries[declared.probe]
    if carry and same(carry, declared, self.decl, decl) then carries[declared.probe] = carry end
  end
  self.decl, self.carries = decl, carries
end

--- A window has closed: { start (µs since the epoch), seconds }, and its views (engine.lua).
function Metrics:take(closed, views)
  local at = closed.start / 1e6
  for _, declared in ipairs(self.decl.metrics) do
    local carry = self.carries[declared.probe]
    if not carry then
      carry = new_carry(declared, { { "policy", self.decl.name }, { "probe", declared.probe } }, at)
      self.carries[declared.probe] = carry
    end
    local rows = views.rows[declared.probe]
    if rows then
      carry:take(rows, views.other[declared.probe], closed.seconds, at)
    else
      carry.clock = carry.clock + closed.seconds
    end
  end
end

local function write_series(family, field, i, series, ends)
  local value, created = series[i], series.reset[i] or series.created
  if value == nil then return end
  if field.kind == "counter" then
    -- Most samples are these: what does not change is made once.
    local known = series.lines[i]
    if not known or known.created ~= created then
      known = family:prepare(series.labels, created)
      known.created, series.lines[i] = created, known
    end
    family:prepared(known, value * field.scale)
  elseif field.kind == "histogram" then
    ends = ends or ends_of(field.classes, #value - 1)
    family:histogram(series.labels, ends, value, value.sum, created)
  else
    family:add(series.labels, value * field.scale, created)
  end
  return ends
end

--- All of it as families of openmetrics.lua.
function Metrics:families()
  local families = {}
  for _, declared in ipairs(self.decl.metrics) do
    local carry = self.carries[declared.probe]
    for i, field in ipairs(carry and declared.fields or {}) do
      local family, ends = openmetrics.family(field.family), nil
      for _, series in ipairs(carry.list) do ends = write_series(family, field, i, series, ends) or ends end
      families[#families + 1] = family
    end
  end
  return families
end

--- How many series each probe has, and may have: { { probe, series, most }, … }
function Metrics:sizes()
  local sizes = {}
  for i, declared in ipairs(self.decl.metrics) do
    local carry = self.carries[declared.probe]
    sizes[i] = { probe = declared.probe, series = carry and #carry.list or 0,
      most = declared.series + (carry and carry.other and 1 or 0) }
  end
  return sizes
end

return metrics
