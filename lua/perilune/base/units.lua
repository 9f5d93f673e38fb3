-- SPDX-License-Identifier: Apache-2.0
--
-- Quantities with units, as an operator writes and reads them.
--
-- A quantity is a number in its base unit plus the unit's name:
--   duration  seconds             "50ms" "10s" "5m" "2h" "7d" "1h30m"
--   rate      events a second     "5k/s" "30/m"
--   byterate  bytes a second      "10kB/s" "100Mbit/s"
--   size      bytes               "64kB" "1MiB"
--   share     part of one         "60%"
--   count     a plain number      5000 "5k"
--   ratio     quotient of two alike; never written, only computed
-- Where a rate is asked for, a byterate is welcome too: which of the two it must be depends on what it is
-- compared with.

local units = {}

local KINDS = {
  duration = { noun = "a duration", example = '"10s"' },
  rate     = { noun = "a rate", example = '"2k/s"' },
  byterate = { noun = "a rate of bytes", example = '"100Mbit/s"' },
  size     = { noun = "a size", example = '"64kB"' },
  share    = { noun = "a share", example = '"60%"' },
  count    = { noun = "a count", example = "1000" },
  ratio    = { noun = "a ratio", example = "2" },
}

local SECONDS = { ns = 1e-9, us = 1e-6, ms = 1e-3, s = 1, m = 60, min = 60, h = 3600, d = 86400 }
local DECIMAL = { [""] = 1, k = 1e3, K = 1e3, M = 1e6, G = 1e9, T = 1e12 }
local BINARY = { Ki = 2 ^ 10, Mi = 2 ^ 20, Gi = 2 ^ 30, Ti = 2 ^ 40 }

-- Every suffix that a single number can have: suffix → { factor, unit, divide }. Small powers of ten divide
-- instead of multiplying, so that "50ms" is the double nearest to 0.05.
local SUFFIX = { ["%"] = { factor = 100, divide = true, unit = "share" } }

for prefix, factor in pairs(DECIMAL) do
  SUFFIX[prefix] = { factor = factor, unit = "count" }
  SUFFIX[prefix .. "B"] = { factor = factor, unit = "size" }
  for per, seconds in pairs { s = 1, m = 60, min = 60, h = 3600 } do
    SUFFIX[prefix .. "/" .. per] = { factor = factor / seconds, unit = "rate" }
    SUFFIX[prefix .. "B/" .. per] = { factor = factor / seconds, unit = "byterate" }
    SUFFIX[prefix .. "bit/" .. per] = { factor = factor / 8 / seconds, unit = "byterate" }
  end
end
for prefix, factor in pairs(BINARY) do
  SUFFIX[prefix .. "B"] = { factor = factor, unit = "size" }
  SUFFIX[prefix .. "B/s"] = { factor = factor, unit = "byterate" }
end

local function duration(text)
  local sum, rest = 0, text
  repeat
    local number, unit, after = rest:match("^(%d+%.?%d*)(%l+)(.*)$")
    local seconds = unit and SECONDS[unit]
    if not seconds then return nil end
    sum = sum + (seconds < 1 and tonumber(number) / (1 / seconds) or tonumber(number) * seconds)
    rest = after
  until rest == ""
  return sum
end

local function read(text)
  local seconds = duration(text)
  if seconds then return seconds, "duration" end
  local number, suffix = text:match("^(%d+%.?%d*) ?(.*)$")
  local known = number and SUFFIX[suffix]
  if not known then return nil end
  local value = tonumber(number)
  return known.divide and value / known.factor or value * known.factor, known.unit
end

-- True for the names that `units.parse` takes as `want`.
function units.known(name)
  return KINDS[name] ~= nil and name ~= "ratio"
end

-- "a rate", "a duration" …
function units.noun(unit)
  return KINDS[unit].noun
end

-- How a quantity of this unit is written, for error messages: `"2k/s"`.
function units.example(unit)
  return KINDS[unit].example
end

-- Whether a quantity of unit `have` may stand where `want` is asked for.
function units.fits(have, want)
  return have == want or (want == "rate" and have == "byterate")
end

-- Reads a quantity: a text with a unit, or a number (a count). `want` is the unit it has to have (any when
-- nil); with `exact`, bytes a second are no rate. Returns value, unit; or nil, message, remedy.
function units.parse(given, want, exact)
  local value, unit
  if type(given) == "number" then
    value, unit = given, "count"
  elseif type(given) == "string" then
    value, unit = read(given)
  end
  if not value or value ~= value then
    local shown = type(given) == "string" and ('"%s"'):format(given) or "a " .. type(given)
    if not want then
      return nil, ("%s is not a number with a unit"):format(shown),
        'like "10s", "2k/s", "64kB", "60%" or a bare count'
    end
    return nil, ("expected %s, got %s"):format(units.noun(want), shown),
      "write it like " .. units.example(want)
  end
  if want and unit ~= want and (exact or not units.fits(unit, want)) then
    return nil, ("expected %s, got %s, which is %s"):format(units.noun(want), units.quote(given),
      units.noun(unit)),
      "write it like " .. units.example(want)
  end
  return value, unit
end

-- A value as it would stand in a policy.
function units.quote(given)
  if type(given) == "string" then return ('"%s"'):format(given) end
  return tostring(given)
end

local function trimmed(value, decimals)
  local text = ("%." .. decimals .. "f"):format(value)
  return decimals > 0 and (text:gsub("%.?0+$", "")) or text
end

-- 8312.4 → "8,312", 41.62 → "41.6", 0.0345 → "0.034": three figures are enough to judge by, whole numbers
-- stay whole.
function units.number(value)
  if value ~= value then return "nan" end
  if value == math.huge or value == -math.huge then return value > 0 and "inf" or "-inf" end
  if value < 0 then return "-" .. units.number(-value) end
  if value < 100 then
    if value == math.floor(value) then return trimmed(value, 0) end
    return trimmed(value, value >= 10 and 1 or value >= 1 and 2 or 4)
  end
  local digits = ("%.0f"):format(value)
  local grouped = digits:reverse():gsub("(%d%d%d)", "%1,"):reverse():gsub("^,", "")
  return grouped
end

local function scaled(value, suffix)
  local steps = { "", "k", "M", "G", "T", "P" }
  local step = 1
  while math.abs(value) >= 999.5 and step < #steps do
    value, step = value / 1000, step + 1
  end
  return units.number(value) .. " " .. steps[step] .. suffix
end

-- The parts are whole numbers, so that nothing but exact text comes out: 90 → "1m30s", 0.05 → "50ms".
local function spell(seconds)
  if seconds < 0 then return "-" .. spell(-seconds) end
  if seconds == 0 then return "0s" end
  if seconds < 1e-3 then return units.number(seconds * 1e6) .. "us" end
  if seconds < 1 then return units.number(seconds * 1e3) .. "ms" end
  if seconds < 60 then return units.number(seconds) .. "s" end
  local rest, text = math.floor(seconds + 0.5), ""
  for _, part in ipairs { { 86400, "d" }, { 3600, "h" }, { 60, "m" }, { 1, "s" } } do
    local whole = math.floor(rest / part[1])
    if whole > 0 then text = text .. whole .. part[2] end
    rest = rest - whole * part[1]
  end
  return text
end

-- A quantity for reasons and screens: (8312.4, "rate") → "8,312/s", (0.62, "share") → "62 %".
function units.print(value, unit)
  if unit == "rate" then return units.number(value) .. "/s" end
  if unit == "byterate" then return scaled(value, "B/s") end
  if unit == "size" then return scaled(value, "B") end
  if unit == "share" then return units.number(value * 100) .. " %" end
  if unit == "duration" then return spell(value) end
  return units.number(value)
end

return units
