-- SPDX-License-Identifier: Apache-2.0
--
-- Points in time as an operator writes them: "22:00" of every day, local; "2026-01-31" and "2026-01-31T06:00:00Z", UTC.

local times = {}

local DAY = 86400

-- Days from 1970-01-01 to a date of the Gregorian calendar (by eras of 400 years, which begin in March).
local function days(year, month, day)
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year - 719468
end

local LENGTHS = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function date_of(text)
  local y, m, d, rest = text:match "^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$"
  if not y then return nil end
  y, m, d = tonumber(y), tonumber(m), tonumber(d)
  if m < 1 or m > 12 or d < 1 or d > LENGTHS[m] then return nil end
  local start = days(y, m, d) * DAY
  if rest == "" then return start end
  local hour, minute, second = rest:match "^T(%d%d):(%d%d):(%d%d)Z$"
  if not hour or tonumber(hour) > 23 or tonumber(minute) > 59 or tonumber(second) > 59 then return nil end
  return start + hour * 3600 + minute * 60 + second
end

--- A schema type: { day = seconds since local midnight } or { at = seconds since the epoch }.
function times.point(text)
  if type(text) == "string" then
    local hour, minute = text:match "^(%d%d?):(%d%d)$"
    if hour and tonumber(hour) < 24 and tonumber(minute) < 60 then return { day = hour * 3600 + minute * 60 } end
    local at = date_of(text)
    if at then return { at = at } end
  end
  return nil, ("%s is no time"):format(type(text) == "string" and '"' .. text .. '"' or "a " .. type(text)),
    'like "22:00", "2026-01-31" or "2026-01-31T06:00:00Z"'
end

-- Seconds since local midnight.
local function of_day(seconds)
  local t = os.date("*t", seconds)
  return t.hour * 3600 + t.min * 60 + t.sec
end

--- Whether `seconds` since the epoch is from `from` (inclusive) to `to` (exclusive); either may be nil. Times of the
--- day may span midnight.
function times.between(seconds, from, to)
  if not from and not to then return true end
  if (from or to).at then
    return not (from and seconds < from.at) and not (to and seconds >= to.at)
  end
  local now, first, last = of_day(seconds), from and from.day or 0, to and to.day or DAY
  if first <= last then return now >= first and now < last end
  return now >= first or now < last
end

return times
