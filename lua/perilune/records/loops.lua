-- SPDX-License-Identifier: Apache-2.0
--
-- The text of the loops that the verbs run, for a class of records and the fields asked for (record.lua).
--
-- q points to the records, ids are the numbers of those chosen (nil: all), n how many. What depends on a policy
-- appears here as numbers of fields and quoted names only.

local load = require "perilune.records.load"
local record = require "perilune.records.record"

local loops = {}

local function fill(template, values)
  return (template:gsub("%$(%w+)", values))
end
loops.fill = fill

-- sum, min, max: the first value, and what happens to s for each v. `t` adds up magnitudes, where negative values
-- could hide that a sum was rounded on its way. NaN is passed over.
local FOLDS = {
  sum = { start = "0", step = "s = s + $v" },
  signed = { start = "0", step = "s = s + $v t = t + abs($v)" },
  min = { start = "1/0", step = "if $v < s then s = $v end" },
  max = { start = "-1/0", step = "if $v > s then s = $v end" },
  ["float min"] = { start = "0/0", step = "if $v < s or s ~= s then s = $v end" },
  ["float max"] = { start = "0/0", step = "if $v > s or s ~= s then s = $v end" },
}

-- → the value, and of a sum its magnitude
function loops.fold(class, kind, field, sparse)
  local fold = FOLDS[kind]
  if kind == "sum" and field.signed then fold = FOLDS.signed end
  if kind ~= "sum" and field.kind == "float" then fold = FOLDS["float " .. kind] end
  return fill([[
return function(q, ids, n)
  local s, t = $start, 0
  $loop
    $load
    $step
  end
  return s, $magnitude
end]], {
    start = fold.start, loop = record.loop(class, sparse), load = load.value(class, field),
    step = fill(fold.step, { v = "v" .. field.index }), magnitude = fold == FOLDS.signed and "t" or "s",
  })
end

-- The sums of several fields (numbers, perhaps elements of lists) in one pass: writes them to out[0 …].
function loops.sums(class, fields, sparse)
  local zeros, steps, stores, checks = {}, {}, {}, {}
  for i, field in ipairs(fields) do
    local v = "v" .. field.index
    zeros[i] = ("local s%d = 0 "):format(i)
    steps[i] = ("do %s s%d = s%d + %s end\n"):format(load.value(class, field), i, i, v)
    stores[i] = ("out[%d] = s%d "):format(i - 1, i)
    if field.kind ~= "float" then
      checks[#checks + 1] = ("if s%d >= 2^53 or s%d <= -2^53 then inexact(%d) end "):format(i, i, field.index)
    end
  end
  return fill([[
return function(q, ids, n, out)
  $zeros
  $loop
    $steps
  end
  $checks $stores
end]], {
    zeros = table.concat(zeros), loop = record.loop(class, sparse), steps = table.concat(steps),
    checks = table.concat(checks), stores = table.concat(stores),
  })
end

-- Of weights above 0: their sum, the sum of w · ln w, and how many there are (entropy.lua).
function loops.entropy(class, field, sparse)
  return fill([[
return function(q, ids, n)
  local s, t, m = 0, 0, 0
  $loop
    $load
    if $v > 0 then s, t, m = s + $v, t + $v * log($v), m + 1 end
  end
  return s, t, m
end]], { loop = record.loop(class, sparse), load = load.value(class, field), v = "v" .. field.index })
end

-- How many different values a field has.
function loops.distinct(class, field, sparse)
  local lines, key, loaded = load.identity(class, field)
  return fill([[
return function(q, ids, n)
  local seen, m = {}, 0
  $loop
    $load $lines
    local key = $key
    if not seen[key] then
      seen[key] = true
      m = m + 1
    end
  end
  return m
end]], {
    loop = record.loop(class, sparse), load = loaded and load.value(class, field) or "", lines = lines, key = key,
  })
end

-- Writes the numbers of the records that meet a condition to `out`, and returns how many. c: its constants.
function loops.where(class, compiled, sparse)
  local constants, lines = {}, {}
  for i = 1, #compiled.constants do constants[i] = ("local c%d = c[%d] "):format(i, i) end
  for i, field in ipairs(compiled.raws) do lines[i] = load.raw(class, field) end
  return fill([[
return function(q, ids, n, out, c)
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
    constants = table.concat(constants), loop = record.loop(class, sparse),
    loads = load.values(class, compiled.fields) .. table.concat(lines), condition = compiled.condition,
  })
end

-- Collects rows that beat `worst` (NaN: any) until there are `room` of them: returns where to go on, and how many.
-- A row whose value is no number comes last. (Sorting them in here would be a loop in the loop, which LuaJIT would
-- not compile for rows in ascending order.)
function loops.top(class, field, sparse)
  local v = "v" .. field.index
  local least = field.kind == "float" and fill("if $v ~= $v then $v = -1/0 end", { v = v }) or ""
  return fill([[
return function(q, ids, n, from, worst, values, places, room)
  local m = 0
  $loop
    $load $least
    if not ($v <= worst) then
      values[m], places[m] = $v, k
      m = m + 1
      if m == room then return k + 1, m end
    end
  end
  return n, m
end]], { loop = record.loop(class, sparse, "from"), load = load.value(class, field), v = v, least = least })
end

function loops.column(class, field, sparse)
  return fill([[
return function(q, ids, n, column)
  $loop
    $load
    column[k + 1] = $v
  end
end]], { loop = record.loop(class, sparse), load = load.value(class, field), v = "v" .. field.index })
end

-- The same into an array of doubles, from 0 on and without NaN. Returns how many.
function loops.numbers(class, field, sparse)
  return fill([[
return function(q, ids, n, values)
  local m = 0
  $loop
    $load
    if $v == $v then
      values[m] = $v
      m = m + 1
    end
  end
  return m
end]], { loop = record.loop(class, sparse), load = load.value(class, field), v = "v" .. field.index })
end

return loops
