-- SPDX-License-Identifier: Apache-2.0
--
-- A closed window as decide.lua sees it: how long it was, which probes ran, and functions that read figures of their
-- records while these are there.
--
-- A sampled probe has counted each packet for all that it stands for, so amounts are of all packets; rows are those
-- that were seen.

local figures = require "perilune.engine.figures"
local flow = require "perilune.records.flow"
local formula = require "perilune.engine.formula"
local parts = require "perilune.engine.parts"
local raw = require "perilune.records.raw"
local window_object = require "perilune.engine.window"

local sample = {}

local NAN = 0 / 0

-- Whether each probe ran, and was not shed: nil is a probe that there is not.
local function observed_of(probes, closed, rows)
  local observed = {}
  for _, probe in ipairs(probes) do observed[probe.name] = false end -- runs, but not at this level
  for _, name in ipairs(closed.level.probes) do observed[name] = rows[name] ~= nil and not closed.spare.shed[name] end
  return observed
end

-- The fields that a rule's key stands for.
local function key_fields(field) return field == flow.NAME and flow.FIELDS or field end

-- Whether a figure can be read. What it turns out to be wrong about is said once; it is not known from then on.
local function guarded(context, probe, column, read)
  local id = probe .. " " .. column.name
  if context.failed[id] then return false end
  local ok, problem = pcall(read)
  if ok then return true end
  context.failed[id] = true
  context.report(("%s of %s: %s"):format(column.kind, probe, (tostring(problem):gsub("^[^:]+:%d+: ", ""))),
    "the measure is not known, and conditions on it are false")
  return false
end

local function fill(groups, name, value)
  for _, group in pairs(groups) do group[name] = value end
end

--- closed: the engine's window; rows: views by probe; context: probes (declared), decider, failed (a table that lives
--- as long as the run), report(message, hint).
function sample.new(closed, rows, context)
  local both_ways = {}
  for _, probe in ipairs(context.probes) do both_ways[probe.name] = flow.both_ways(probe.features) end
  local self = {
    seq = closed.seq,
    start = closed.mono,
    wall = closed.start / 1e6,
    finish = closed.mono + closed.seconds,
    seconds = closed.seconds,
    level = closed.level.name,
    decisive = closed.decisive,
    observed = observed_of(context.probes, closed, rows),
    shed = closed.spare.shed,
  }

  function self.total(probe, field) return rows[probe]:sum(field) end

  function self.rows(probe) return rows[probe]:count() end

  --- A column of all rows; what is wrong with it is an error.
  function self.measure(probe, column)
    return figures.whole(rows[probe], column)
  end

  --- The same for rules: what is wrong is reported.
  function self.figure(probe, column)
    local value = NAN
    guarded(context, probe, column, function() value = self.measure(probe, column) end)
    return value
  end

  function self.groups(probe, field, fields, columns)
    local by = key_fields(field)
    local groups, count = raw.groups(rows[probe], by, fields)
    for _, column in ipairs(columns or {}) do
      local name = column.name
      fill(groups, name, formula.nothing[column.kind])
      local ok = guarded(context, probe, column, function()
        figures.by_key(rows[probe], by, column, function(key, value) groups[key][name] = value end)
      end)
      if not ok then fill(groups, name, NAN) end
    end
    return groups, count
  end

  --- Calls into(raw key or nil, raw value) for what distinct counts.
  function self.values(column, by, into)
    guarded(context, column.probe, column, function()
      figures.values(rows[column.probe], column, by and key_fields(by), into)
    end)
  end

  --- Calls into(raw key or nil, part, weight) for what quantile and entropy of several windows add up.
  function self.parts(column, by, into)
    guarded(context, column.probe, column, function()
      parts.each(rows[column.probe], column, by and key_fields(by), into)
    end)
  end

  function self.text(probe, field, key)
    if field ~= flow.NAME then return raw.text(rows[probe], field, key) end
    return flow.text(raw.texts(rows[probe], flow.FIELDS, key), both_ways[probe])
  end

  self.window = window_object.new(closed, rows, self, context)
  return self
end

return sample
