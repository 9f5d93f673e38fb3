-- SPDX-License-Identifier: Apache-2.0
--
-- The text of the loops that shape.lua runs, for a class of records and the fields asked for (record.lua).
--
-- p and q are pointers to the records (as structs, as bytes), ids the numbers of those chosen (nil: all),
-- n how many. What depends on a policy appears here as numbers of fields and quoted names only.

local record = require "perilune.record"

local loops = {}

local function fill(template, values)
  return (template:gsub("%$(%w+)", values))
end

-- Joins what format gives for each field; %d in it stands for the field's number.
local function each(fields, format)
  local parts = {}
  for i, field in ipairs(fields) do parts[i] = (format:gsub("%%d", field.index)) end
  return table.concat(parts)
end

-- sum, min, max: the first value, and what happens to s for each v.
local FOLDS = {
  sum = { start = "0", step = "s = s + $v" },
  min = { start = "1/0", step = "if $v < s then s = $v end" },
  max = { start = "-1/0", step = "if $v > s then s = $v end" },
}

function loops.fold(kind, field, sparse)
  local fold = FOLDS[kind]
  return fill([[
return function(p, ids, n)
  local s = $start
  $loop
    $load
    $step
  end
  return s
end]], {
    start = fold.start, loop = record.loop(sparse), load = record.load(field),
    step = fill(fold.step, { v = "v" .. field.index }),
  })
end

-- { [raw bytes of field] = { n = rows, <name> = sum, … } }, and how many. The sums over all groups tell
-- whether any of them may have been rounded.
function loops.groups(class, field, summed, sparse)
  local steps, starts = {}, {}
  for i, f in ipairs(summed) do
    steps[i] = ("g[%q] = g[%q] + v%d "):format(f.name, f.name, f.index)
    starts[i] = (", [%q] = v%d"):format(f.name, f.index)
  end
  return fill([[
return function(p, q, ids, n)
  local groups, rows = {}, 0
  $zeros
  $loop
    $loads
    local raw = $raw
    local g = groups[raw]
    if g then
      g.n = g.n + 1 $steps
    else
      groups[raw] = { n = 1 $starts }
      rows = rows + 1
    end
    $sums
  end
  $checks
  return groups, rows
end]], {
    zeros = each(summed, "local s%d = 0 "), loop = record.loop(sparse), loads = record.loads(summed),
    raw = record.bytes(class, field), steps = table.concat(steps), starts = table.concat(starts),
    sums = each(summed, "s%d = s%d + v%d "),
    checks = each(summed, "if s%d >= 2^53 or s%d <= -2^53 then inexact(%d) end "),
  })
end

local STEPS = {
  sum = "g[$at] = g[$at] + $v ", mean = "g[$at] = g[$at] + $v ",
  min = "if $v < g[$at] then g[$at] = $v end ", max = "if $v > g[$at] then g[$at] = $v end ",
}

-- A list of { first record, rows, value, … }, a value for each of `aggregates` ({ kind =, field = or nil
-- }).
function loops.group(class, keys, aggregates, sparse)
  local raws, loaded, steps, starts = {}, {}, {}, {}
  for i, field in ipairs(keys) do raws[i] = record.bytes(class, field) end
  for i, a in ipairs(aggregates) do
    local v = a.field and "v" .. a.field.index or "0"
    if a.field then
      loaded[#loaded + 1] = a.field
      steps[#steps + 1] = fill(STEPS[a.kind], { at = tostring(i + 2), v = v })
    end
    starts[i] = ", " .. v
  end
  return fill([[
return function(p, q, ids, n)
  local groups, order, m = {}, {}, 0
  $loop
    $loads
    local raw = $raw
    local g = groups[raw]
    if g then
      g[2] = g[2] + 1 $steps
    else
      g = { i, 1 $starts }
      groups[raw] = g
      m = m + 1
      order[m] = g
    end
  end
  return order
end]], {
    loop = record.loop(sparse), loads = record.loads(loaded), raw = table.concat(raws, " .. "),
    steps = table.concat(steps), starts = table.concat(starts),
  })
end

-- Writes the numbers of the records that meet a condition to `out`, and returns how many. c: its constants.
function loops.where(compiled, sparse)
  local constants = {}
  for i = 1, #compiled.constants do constants[i] = ("local c%d = c[%d] "):format(i, i) end
  return fill([[
return function(p, q, ids, n, out, c)
  local m = 0
  $constants
  $loop
    $loads
    if $condition then
      out[m] = i
      m = m + 1
    end
  end
  return m
end]], {
    constants = table.concat(constants), loop = record.loop(sparse), loads = record.loads(compiled.fields),
    condition = compiled.condition,
  })
end

-- Collects rows that beat `worst` until there are `room` of them: returns where to go on, and how many.
-- (Sorting them in here would be a loop in the loop, which LuaJIT would not compile for rows in ascending
-- order.)
function loops.top(field, sparse)
  return fill([[
return function(p, ids, n, from, worst, values, places, room)
  local m = 0
  $loop
    $load
    if $v > worst then
      values[m], places[m] = $v, k
      m = m + 1
      if m == room then return k + 1, m end
    end
  end
  return n, m
end]], { loop = record.loop(sparse, "from"), load = record.load(field), v = "v" .. field.index })
end

function loops.column(field, sparse)
  return fill([[
return function(p, ids, n, column)
  $loop
    $load
    column[k + 1] = $v
  end
end]], { loop = record.loop(sparse), load = record.load(field), v = "v" .. field.index })
end

return loops
