-- SPDX-License-Identifier: Apache-2.0
--
-- The text of the loops that bring rows of equal keys together: group, join, delta. As loops.lua; keys are raw bytes.

local blame = require "perilune.base.blame"
local load = require "perilune.records.load"
local loops = require "perilune.records.loops"
local record = require "perilune.records.record"

local fill = loops.fill
local keyed = {}

-- The field, if its bytes say whether two records have the same.
function keyed.comparable(field)
  if not field.list or load.raw(nil, field) then return field end
  blame.fail('"%s" is %s, whose elements do not lie together', field.name, record.describe(field))
end

-- Joins what format gives for each field; %d in it stands for the field's number.
local function each(fields, format)
  local parts = {}
  for i, field in ipairs(fields) do parts[i] = (format:gsub("%%d", field.index)) end
  return table.concat(parts)
end

-- Text of a key made of several fields, and the lines before it. Text may end anywhere, so a NUL ends it here.
local function joint_key(class, fields)
  local lines, parts = {}, {}
  for i, field in ipairs(fields) do
    lines[i], parts[i] = load.raw(class, field)
    if field.kind == "text" and not field.list then parts[i] = parts[i] .. ' .. "\\0"' end
  end
  return table.concat(lines), table.concat(parts, " .. ")
end

-- The same; of one field, its bytes as they are.
local function raw_key(class, keys)
  if #keys == 1 then return load.raw(class, keys[1]) end
  return joint_key(class, keys)
end

-- { [raw bytes of the key's fields] = { n = rows, <name> = sum, … } }, and how many. The sums over all groups tell
-- whether any of them may have been rounded.
function keyed.groups(class, keys, summed, sparse)
  local steps, starts, sums = {}, {}, {}
  local lines, raw = raw_key(class, keys)
  for i, f in ipairs(summed) do
    local n = f.index
    steps[i] = ("g[%q] = g[%q] + v%d "):format(f.name, f.name, n)
    starts[i] = (", [%q] = v%d"):format(f.name, n)
    sums[i] = (f.signed and "s%d = s%d + abs(v%d) " or "s%d = s%d + v%d "):format(n, n, n)
  end
  local counted = {}
  for _, f in ipairs(summed) do
    if f.kind ~= "float" then counted[#counted + 1] = f end
  end
  return fill([[
return function(q, ids, n)
  local groups, rows = {}, 0
  $zeros
  $loop
    $loads $lines
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
    zeros = each(summed, "local s%d = 0 "), loop = record.loop(class, sparse), loads = load.values(class, summed),
    lines = lines, raw = raw, steps = table.concat(steps), starts = table.concat(starts), sums = table.concat(sums),
    checks = each(counted, "if s%d >= 2^53 or s%d <= -2^53 then inexact(%d) end "),
  })
end

-- What happens to a group `g` for each row: its first values, and the steps after. `$d` is what tells values of a
-- field apart.
local STEPS = {
  sum = { "$v", "g[$at] = g[$at] + $v " },
  magnitude = { "abs($v)", "g[$at] = g[$at] + abs($v) " },
  min = { "$v", "if $v < g[$at] then g[$at] = $v end " },
  max = { "$v", "if $v > g[$at] then g[$at] = $v end " },
  ["float min"] = { "$v", "if $v < g[$at] or g[$at] ~= g[$at] then g[$at] = $v end " },
  ["float max"] = { "$v", "if $v > g[$at] or g[$at] ~= g[$at] then g[$at] = $v end " },
  logs = { "$v > 0 and $v * log($v) or 0", "if $v > 0 then g[$at] = g[$at] + $v * log($v) end " },
  weight = { "$v > 0 and $v or 0", "if $v > 0 then g[$at] = g[$at] + $v end " },
  positive = { "$v > 0 and 1 or 0", "if $v > 0 then g[$at] = g[$at] + 1 end " },
  distinct = { "{ [$d] = 1 }, 1", "if not g[$at][$d] then g[$at][$d] = 1 g[$next] = g[$next] + 1 end " },
}

-- A list of { first record, rows, number of the group, value, … }: what `slots` say ({ step =, field =, at = }, in
-- order of at, from 4 on). `numbered`: also writes the group's number of each place to `numbers`.
function keyed.group(class, keys, slots, numbered, sparse)
  local loaded, lines, steps, starts, told = {}, {}, {}, {}, {}
  local key
  if #keys == 1 then
    local load_it
    lines[1], key, load_it = load.identity(class, keys[1])
    loaded[1] = load_it and keys[1] or nil
    told[keys[1]] = not load_it
  else
    lines[1], key = joint_key(class, keys)
    for _, field in ipairs(keys) do told[field] = true end
  end
  for i, slot in ipairs(slots) do
    local field, d = slot.field, nil
    if slot.step == "distinct" then
      local before, load_it
      before, d, load_it = load.identity(class, field)
      if load_it then loaded[#loaded + 1] = field end
      if not told[field] then lines[#lines + 1] = before end
      told[field] = true
    else
      loaded[#loaded + 1] = field
    end
    local values = { v = "v" .. field.index, d = d, at = tostring(slot.at), next = tostring(slot.at + 1) }
    starts[i], steps[i] = ", " .. fill(STEPS[slot.step][1], values), fill(STEPS[slot.step][2], values)
  end
  return fill([[
return function(q, ids, n, numbers)
  local groups, order, m = {}, {}, 0
  $loop
    $loads $lines
    local key = $key
    local g = groups[key]
    if g then
      g[2] = g[2] + 1 $steps
    else
      m = m + 1
      g = { i, 1, m $starts }
      groups[key] = g
      order[m] = g
    end
    $number
  end
  return order
end]], {
    loop = record.loop(class, sparse), loads = load.values(class, loaded), lines = table.concat(lines), key = key,
    steps = table.concat(steps), starts = table.concat(starts), number = numbered and "numbers[k] = g[3]" or "",
  })
end

-- The key that groups() has for one record: a function (r).
function keyed.raw(class, keys)
  local lines, raw = raw_key(class, keys)
  return ("return function(r) %s return %s end"):format(lines, raw)
end

-- Sorts the values of a field by group: those of group g go to values[at[g]] and on. NaN is left out.
function keyed.scatter(class, field, sparse)
  local v = "v" .. field.index
  return fill([[
return function(q, ids, n, numbers, at, values)
  $loop
    $load
    if $v == $v then
      local g = numbers[k]
      values[at[g] ] = $v
      at[g] = at[g] + 1
    end
  end
end]], { loop = record.loop(class, sparse), load = load.value(class, field), v = v })
end

-- For join and delta, by equal raw keys. First: { [key] = place + 1 of its first row }, and in after[place] the place
-- + 1 of the next row with the same key, or 0.
function keyed.index(class, fields, sparse)
  local lines, key = joint_key(class, fields)
  return fill([[
return function(q, ids, n, after)
  local first = {}
  $loop
    $lines
    local key = $key
    after[k] = first[key] or 0
    first[key] = k + 1
  end
  return first
end]], { loop = record.loop_down(class, sparse), lines = lines, key = key })
end

-- Then: for each row, the first match in such an index, or 0.
function keyed.match(class, fields, sparse)
  local lines, key = joint_key(class, fields)
  return fill([[
return function(q, ids, n, first, match)
  $loop
    $lines
    match[k] = first[$key] or 0
  end
end]], { loop = record.loop(class, sparse), lines = lines, key = key })
end

-- Differences to the matched rows of Q (numbers IDS). A counter that went back, and one that has no match, count from
-- 0; back[place] tells the first.
function keyed.delta(class, field, sparse, other_sparse)
  local exact, n = load.unsigned(class, field), tostring(field.index)
  local gauge, store = record.is_gauge(field), "out[k] = d"
  if exact then
    store = fill("if d > $largest then inexact($n) end out[k] = tonumber(d)",
      { largest = ("%dULL"):format(record.LARGEST), n = n })
  elseif gauge and field.kind ~= "float" then
    store = fill("if d >= 2^53 or d <= -2^53 then inexact($n) end out[k] = d", { n = n })
  end
  local value = exact and ("local v%s = %s\n"):format(n, exact) or load.value(class, field)
  return fill([[
return function(q, ids, n, Q, IDS, match, out, back)
  $loop
    $load
    local d, m = v$n, match[k]
    if m ~= 0 then
      local now, r = v$n, Q + $other * $strideLL
      $load
      $step
    end
    $store
  end
end]], {
    loop = record.loop(class, sparse), n = n, load = value,
    strideLL = class.stride .. "LL", other = other_sparse and "IDS[m - 1]" or "(m - 1)",
    step = fill(gauge and "d = now - v$n" or "if now >= v$n then d = now - v$n else back[k] = 1 end", { n = n }),
    store = store,
  })
end

return keyed
