-- SPDX-License-Identifier: Apache-2.0
--
-- What a window's rows are made of, for measures that several windows have together (sliding_parts.lua): parts, and how
-- much each weighs. A column (figures.lua) says of what:
--
--   quantile of a number     the numbers that rows have, each by how many rows have it
--   quantile of a histogram  its classes, from 1 on, by their counts; the last, which has no upper end, is -n
--   entropy of a key's field its values, by packets, or by rows where there are none
--   entropy of an amount     the rows, by the amount: a row of a later window is the same if its key is

local blame = require "perilune.base.blame"
local figures = require "perilune.engine.figures"
local group = require "perilune.records.group"
local view = require "perilune.records.view"

local parts = {}

local OF = {}

local function see_classes(key, counts, n, into)
  for k = 1, n do into(key, k < n and k or -n, counts[k]) end
end

local function classes(rows, column, by, into)
  if not by then
    local counts, n = figures.counts_of(rows, column.field)
    return see_classes(nil, counts, n, into)
  end
  group.each(rows, { by }, { { name = "v", kind = "histogram", field = column.field } }, function(raws, values)
    see_classes(raws[1], values.v, #values.v, into)
  end)
end

-- For every group of equal values of what makes a part.
local function each_part(rows, by, part, aggregates, each)
  group.each(rows, by and { by, part } or { part }, aggregates, function(raws, values)
    each(by and raws[1] or nil, raws[#raws], values)
  end)
end

function OF.quantile(rows, column, by, into)
  if column.classes then return classes(rows, column, by, into) end
  -- All rows of a group have the same number: the greatest is it.
  local aggregates = { { name = "v", kind = "max", field = column.field }, { name = "n", kind = "count" } }
  each_part(rows, by, column.field, aggregates, function(key, _, values) into(key, values.v, values.n) end)
end

-- Names of the fields that make a row the one it is.
local function key_of(rows, column)
  local names = {}
  for i, field in ipairs(view.inner(rows).class.keys) do names[i] = field.name end
  if not names[1] then blame.fail("%s has no key by which records of several windows are the same", column.probe) end
  return names
end

function OF.entropy(rows, column, by, into)
  local weight = { name = "w", kind = "sum", field = column.by and column.weight or column.field }
  if column.by and not column.weight then weight = { name = "w", kind = "count" } end
  each_part(rows, by, column.by or key_of(rows, column), { weight }, function(key, part, values)
    into(key, part, values.w)
  end)
end

--- Calls into(raw key or nil, part, weight) for every part of the rows of every key of `by` (a field, or a list), or
--- without it of all.
function parts.each(v, column, by, into)
  OF[column.kind](figures.chosen(v, column), column, by, into)
end

return parts
