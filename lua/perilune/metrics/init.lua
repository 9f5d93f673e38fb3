-- SPDX-License-Identifier: Apache-2.0
--
-- What a policy's metrics (metric_form.lua) stand at: every window is added to totals that only grow. Pure;
-- whoever reads them changes nothing.
--
-- A series belongs to a key. In each window, keys that have one are added to theirs; then those that have been
-- silent for long enough lose it, and the largest of the new ones get what there is room for; the rest, and
-- what found no room in the probe's own map, is added to the series `other`. So what all series of a metric
-- have grown by is what the probe has counted.
local ends_of = require("perilune.policy.metric_form").ends
local group = require "perilune.records.group"
local openmetrics = require "perilune.metrics.openmetrics"
local sameness = require "perilune.policy.sameness"
local view = require "perilune.records.view"

local metrics = {}

local TOGETHER = 20 -- fields that one pass over the rows adds up
local WHOLE = 2 ^ 53 -- a counter that would pass it begins anew: from there on it would be a little wrong
local OTHER = "other"

-- ---------------------------------------------------------------------------------------------- values of a window

-- How values of several rows become one.
local STEPS = {
  sum = function(a, b) return a + b end, min = math.min, max = math.max, last = function(_, b) return b end,
}

-- How rows of one key do: where a field says something of one row, there is one.
local AGGREGATES = { sum = "sum", min = "min", max = "max", last = "max" }

-- Passes over the rows, and for every field where its value comes from: { pass, aggregate, its sum's pass, aggregate }.
local function plan(fields)
  local passes, sources, open = {}, {}, nil
  local function pass(aggregate)
    passes[#passes + 1] = { aggregate }
    return #passes
  end
  for i, field in ipairs(fields) do
    local one = { name = "v", kind = AGGREGATES[field.fold], field = field.field }
    if field.kind == "histogram" then
      one.kind = "histogram"
      local sum = field.sum and { name = "v", kind = "sum", field = field.sum }
      sources[i] = { pass(one), one, sum and pass(sum), sum }
    elseif open and #passes[open] < TOGETHER then
      table.insert(passes[open], one)
      sources[i] = { open, one }
    else
      open = pass(one)
      sources[i] = { open, one }
    end
  end
  return passes, sources
end

-- The value of field number f in group i of a table of them; of a histogram { counts, sum = }.
local function value_of(sources, groups, f, i)
  local source = sources[f]
  local value = groups.value(source[1], source[2], i)
  if source[3] then value.sum = groups.value(source[3], source[4], i) end
  return value
end

-- A value, or for histograms { counts, sum = }, of several added to another one.
local function merge(field, into, value)
  if into == nil then return value end
  if field.kind ~= "histogram" then return STEPS[field.fold](into, value) end
  for i, count in ipairs(value) do into[i] = (into[i] or 0) + count end
  into.sum = into.sum and value.sum and into.sum + value.sum or nil
  return into
end

-- How much a value of a key is: of a histogram all that is in it.
local function size_of(value)
  if type(value) ~= "table" then return value == value and value or 0 end
  local sum = 0
  for _, count in ipairs(value) do sum = sum + count end
  return sum
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

local function add_value(series, field, f, value, at)
  if field.kind == "counter" then
    grow(series, f, value, at)
  elseif field.kind == "histogram" then
    series[f] = merge(field, series[f] or { sum = value.sum and 0 }, value)
  elseif value == value then
    series[f] = value
  end
end

local Carry = {}
Carry.__index = Carry

-- at: seconds since the epoch at which all counters are 0.
local function new_carry(declared, labels, at)
  local self = setmetatable({
    declared = declared, fields = declared.fields, labels = labels,
    by_key = {}, by_text = {}, list = {}, began = at, clock = 0, sweep_at = declared.forget,
  }, Carry)
  local keys = {}
  self.passes, self.sources = plan(declared.fields)
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

-- Group i of a window is added to a series.
function Carry:add(series, groups, i, at)
  for f, field in ipairs(self.fields) do
    add_value(series, field, f, value_of(self.sources, groups, f, i), at)
  end
end

-- Whether anything was counted. A direction that the hook does not see has a row too.
function Carry:is_something(groups, i)
  for f, field in ipairs(self.fields) do
    if field.kind == "gauge" or size_of(value_of(self.sources, groups, f, i)) ~= 0 then return true end
  end
  return false
end

-- The texts of a key. They cost more than all else about a row, so that only who gets a series has them.
function Carry:texts(groups, i)
  local texts = {}
  for n, name in ipairs(self.key) do texts[n] = groups.text(i, name) end
  return texts
end

-- The largest of the new ones (numbers of groups) get a series, as long as there is room; what is left is the other's.
function Carry:settle(groups, fresh, at)
  local room = self.declared.series - #self.list + (self.other and 1 or 0)
  if #fresh > room and room > 0 then
    local sizes = {}
    for _, i in ipairs(fresh) do sizes[i] = size_of(value_of(self.sources, groups, 1, i)) end
    table.sort(fresh, function(a, b)
      if sizes[a] ~= sizes[b] then return sizes[a] > sizes[b] end
      return a < b
    end)
  end
  for _, i in ipairs(fresh) do
    local series = self.other
    if room > 0 then
      local before = #self.list
      series = self:admit(self:texts(groups, i), at)
      room = room - (#self.list - before)
      self.by_key[groups.key(i)] = series
      series.seen = self.clock
    end
    if series then self:add(series, groups, i, at) end
  end
end

-- What found no room in the probe's map.
function Carry:add_other(other, at)
  local series = self.other or self.list[1] or self:admit({}, at)
  for f, field in ipairs(self.fields) do
    if field.kind == "counter" and view.has(other, field.field) then
      add_value(series, field, f, other:sum(field.field), at)
    elseif field.kind == "histogram" and view.has(other, field.field) then
      for _, row in other:rows() do
        local counts = row[field.field]
        counts.sum = field.sum and row[field.sum] or nil
        add_value(series, field, f, counts, at)
      end
    end
  end
end

-- Groups of rows by whatever field become one.
function Carry:take_whole(groups, at)
  if groups.count == 0 then return end
  local series = self:admit({}, self.began)
  for f, field in ipairs(self.fields) do
    local whole
    for i = 1, groups.count do whole = merge(field, whole, value_of(self.sources, groups, f, i)) end
    add_value(series, field, f, whole, at)
  end
end

function Carry:take_keys(groups, at)
  local fresh, by_key = {}, self.by_key
  for i = 1, groups.count do
    local series = by_key[groups.key(i)]
    if series then
      self:add(series, groups, i, at)
      series.seen = self.clock
    elseif not self.declared.directions or self:is_something(groups, i)
      or self.by_text[self:labels_of(self:texts(groups, i))] then
      fresh[#fresh + 1] = i
    end
  end
  if self.clock >= self.sweep_at or #fresh > 0 then
    self:sweep()
    self.sweep_at = self.clock + self.declared.forget / 4
  end
  if #fresh > 0 then self:settle(groups, fresh, at) end
end

--- A window: its rows of the probe, its row of what found no room (or nil), how long it was, and when it began (seconds
--- since the epoch).
function Carry:take(rows, other, seconds, at)
  self.clock = self.clock + seconds
  local groups = group.table(rows, self.key or { rows:fields()[1] }, self.passes)
  if self.key then self:take_keys(groups, at) else self:take_whole(groups, at) end
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
