-- SPDX-License-Identifier: Apache-2.0
-- Points in time as text: RFC 3339 to µs since the epoch. The other way round it is format.rfc3339.
local moment = {}

local MONTHS = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_leap(year) return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) end

-- Days since 1970-01-01 in the Gregorian calendar; nil when there is no such day.
local function days_of(year, month, day)
  if year < 1970 or month < 1 or month > 12 or day < 1 or day > MONTHS[month] then return nil end
  if month == 2 and day == 29 and not is_leap(year) then return nil end
  -- The year is taken to begin in March: leap days end it.
  local y, m = month <= 2 and year - 1 or year, (month + 9) % 12
  local era = math.floor(y / 400)
  local of_year = math.floor((153 * m + 2) / 5) + day - 1
  local yoe = y - era * 400
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + of_year - 719468
end

-- Seconds east of UTC; nil when it is no zone.
local function offset_of(zone)
  if zone == "Z" or zone == "z" then return 0 end
  local sign, hours, minutes = zone:match "^([+-])(%d%d):(%d%d)$"
  if not sign or tonumber(hours) > 23 or tonumber(minutes) > 59 then return nil end
  return (sign == "+" and 1 or -1) * (tonumber(hours) * 3600 + tonumber(minutes) * 60)
end

--- "2026-03-29T00:55:00Z", with a fraction of a second or an offset ("+01:00") if need be → whole µs since the epoch,
--- the ns beyond them (0 to 999) | nil.
function moment.parse(text)
  local year, month, day, hour, minute, second, rest =
    tostring(text):match "^(%d%d%d%d)%-(%d%d)%-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(.+)$"
  if not year then return nil end
  local fraction, zone = rest:match "^%.(%d+)(.+)$"
  local east = offset_of(zone or rest)
  local days = days_of(tonumber(year), tonumber(month), tonumber(day))
  hour, minute, second = tonumber(hour), tonumber(minute), tonumber(second)
  if not east or not days or hour > 23 or minute > 59 or second > 59 then return nil end
  local seconds = days * 86400 + hour * 3600 + minute * 60 + second - east
  if seconds < 0 then return nil end
  local ns = tonumber(((fraction or "") .. "000000000"):sub(1, 9))
  return seconds * 1e6 + math.floor(ns / 1000), ns % 1000
end

return moment
