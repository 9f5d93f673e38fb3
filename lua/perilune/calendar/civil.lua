-- SPDX-License-Identifier: Apache-2.0
--
-- The calendar: days of the proleptic Gregorian calendar as numbers, day 0 is 1970-01-01. Whole numbers in and out.

local civil = {}

local floor = math.floor

civil.DAY = 86400 -- seconds

-- Day number of a date. Years begin in March, so that a leap day is a year's last.
function civil.day(year, month, day)
  local y = month <= 2 and year - 1 or year
  local era = floor(y / 400)
  local of_era = y - era * 400
  local of_year = floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1
  return era * 146097 + of_era * 365 + floor(of_era / 4) - floor(of_era / 100) + of_year - 719468
end

-- Year, month, day of a day number.
function civil.date(number)
  local shifted = number + 719468
  local era = floor(shifted / 146097)
  local of_era = shifted - era * 146097
  local years = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * years + floor(years / 4) - floor(years / 100))
  local part = floor((5 * of_year + 2) / 153)
  local month = part < 10 and part + 3 or part - 9
  local day = of_year - floor((153 * part + 2) / 5) + 1
  return era * 400 + years + (month <= 2 and 1 or 0), month, day
end

-- 0 is Sunday, 6 is Saturday.
function civil.weekday(number) return (number + 4) % 7 end

function civil.is_leap(year) return year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) end

local LENGTHS = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

function civil.days_in(year, month) return month == 2 and civil.is_leap(year) and 29 or LENGTHS[month] end

return civil
