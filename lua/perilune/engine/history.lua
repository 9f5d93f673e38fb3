-- SPDX-License-Identifier: Apache-2.0
--
-- What a policy's conditions remember of earlier windows: the series behind :over, :ewma and :baseline (sliding.lua,
-- sliding_parts.lua, smooth.lua, baseline.lua), which window and which keys feed them, and in which order.
--
-- :over and :ewma have seen the window that is judged; :baseline learns it afterwards. A window that was cut short is
-- not judged and not learnt, but enters the other two with its seconds. Windows in which a probe of theirs did not
-- run are as if they had not been.

local baseline = require "perilune.engine.baseline"
local sliding = require "perilune.engine.sliding"
local sliding_parts = require "perilune.engine.sliding_parts"
local smooth = require "perilune.engine.smooth"
local words = require "perilune.base.words"

local history = {}

local History = {}
History.__index = History

local ALL = "" -- the key of a series that has one figure

function history.new()
  return setmetatable({ list = {}, by_id = {} }, History)
end

-- One series for every rule, text and constant: when and clear share it.
local function entry_of(self, spec, make)
  local id = ("%s: %s"):format(spec.rule, spec.what)
  local known = self.by_id[id]
  if known then return known end
  spec.id, spec.series = id, make()
  self.list[#self.list + 1], self.by_id[id] = spec, spec
  return spec
end

-- spec: rule (its name), what (text that tells series of a rule apart), node (the measure), probes (list), keyed
-- (whether it has a figure for every key of the rule), by (of which field), get(row, env). Each returns the series.
function History:over(spec, kind, span)
  spec.stage = kind == "union" and "values" or "figures"
  return entry_of(self, spec, function() return sliding.new(kind, span) end).series
end

-- Of a column's parts (figures.parts).
function History:parts(spec, span)
  spec.stage = "parts"
  return entry_of(self, spec, function() return sliding_parts.new(span) end).series
end

function History:ewma(spec, constant, dense)
  spec.stage = "known"
  return entry_of(self, spec, function() return smooth.new(constant, dense) end).series
end

function History:baseline(spec, options)
  spec.stage = "learnt"
  return entry_of(self, spec, function()
    return baseline.new(options.period, options.warmup, options.hours)
  end).series
end

local function observed(entry, sample)
  for _, probe in ipairs(entry.probes) do
    if not sample.observed[probe] then return false end
  end
  return true
end

-- Calls fn(key, figure, whether the key has a row). rows_of(rule) → { by_key, keys, rows, n, zero } of its
-- grouping.
local function each_key(entry, rows_of, env, fn)
  if not entry.keyed then return fn(ALL, entry.get(nil, env), true) end
  local rows = rows_of(entry.rule)
  for i = 1, rows.n do
    env.raw = rows.keys[i]
    fn(env.raw, entry.get(rows.rows[i], env), true)
  end
  if entry.stage == "figures" then return end
  for key in pairs(entry.series:known()) do
    if not rows.by_key[key] then
      env.raw = key
      fn(key, entry.get(rows.zero, env), false)
    end
  end
end

function History:observe(sample, env, rows)
  for _, entry in ipairs(self.list) do
    if entry.stage ~= "learnt" and observed(entry, sample) then
      local series = entry.series
      if entry.stage == "known" then
        series:open(sample.seconds, sample.finish)
      else
        series:open(sample.start, sample.finish, sample.seconds)
      end
      if entry.stage == "values" then
        sample.values(entry.column, entry.keyed and entry.by or nil, function(key, value)
          series:see(key or ALL, value)
        end)
      elseif entry.stage == "parts" then
        sample.parts(entry.column, entry.keyed and entry.by or nil, function(key, part, weight)
          series:see(key or ALL, part, weight)
        end)
      else
        each_key(entry, rows, env, function(key, figure) series:add(key, figure) end)
      end
    end
  end
end

--- After judging. firing(rule's name, key or nil) → whether it fires for this key, or for any.
function History:learn(sample, env, rows, firing)
  for _, entry in ipairs(self.list) do
    if entry.stage == "learnt" and observed(entry, sample) then
      local series = entry.series
      series:open(env.wall)
      each_key(entry, rows, env, function(key, figure, seen)
        if not firing(entry.rule, entry.keyed and key or nil) then series:learn(key, figure, sample.seconds, seen) end
      end)
    end
  end
end

--- Silence of so many seconds, in which no rule remembers anything: what it does to what is learnt.
function History:skip(seconds, sample, env, zero)
  for _, entry in ipairs(self.list) do
    if entry.stage == "learnt" and observed(entry, sample) then
      env.raw = ALL
      entry.series:skip(entry.get(zero(entry.rule), env), seconds, env.wall)
    elseif entry.stage == "known" and observed(entry, sample) then
      entry.series:open(seconds, env.finish)
    end
  end
end

--- Whether windows without packets would still change what conditions see.
function History:moving()
  for _, entry in ipairs(self.list) do
    if entry.stage ~= "learnt" and entry.series:moving() then return true end
  end
  return false
end

--- { what the series is → how often there was no room }, of those that lacked some.
function History:overflow()
  local out = {}
  for _, entry in ipairs(self.list) do
    if entry.series.overflow > 0 then out[entry.id] = entry.series.overflow end
  end
  return out
end

-- What the probes of a series are: one that has changed counts something else.
local function signature(entry, probes)
  local parts = {}
  for i, name in ipairs(entry.probes) do parts[i] = probes[name] or name end
  table.sort(parts)
  return table.concat(parts, "; ")
end

--- Goes on with the series of another declaration's history that mean the same in both (`same`: sameness.lua's).
function History:inherit(old, same)
  for _, entry in ipairs(self.list) do
    local before = old.by_id[entry.id]
    local fits = before ~= nil and entry.keyed == before.keyed and entry.by == before.by
      and same.equal(entry.node, before.node)
    for _, probe in ipairs(entry.probes) do fits = fits and same.probes[probe] end
    if fits then entry.series:inherit(before.series) end
  end
end

--- What baselines have learnt, as plain data, and whether there are any. probes: name → text that tells what it is.
function History:export(probes)
  local out, any = {}, false
  for _, entry in ipairs(self.list) do
    if entry.stage == "learnt" then
      out[entry.id], any = { of = signature(entry, probes), keys = entry.series:export() }, true
    end
  end
  return out, any
end

--- Takes what export() gave. Returns how many series were found, and the names of those that do not fit any more.
function History:import(data, probes, wall)
  local found, gone = 0, {}
  for _, id in ipairs(words.keys(data)) do
    local entry, kept = self.by_id[id], data[id]
    if entry and entry.stage == "learnt" and type(kept) == "table" and kept.of == signature(entry, probes)
      and type(kept.keys) == "table" then
      entry.series:import(kept.keys, wall)
      found = found + 1
    else
      gone[#gone + 1] = id
    end
  end
  return found, gone
end

return history
