-- SPDX-License-Identifier: Apache-2.0
--
-- The rule that says when daylight saving begins and ends in every year, as POSIX writes it in TZ and RFC 8536 at the
-- end of a TZif file: "CET-1CEST,M3.5.0,M10.5.0/3", "<-02>2<-01>,M3.5.0/-1,M10.5.0/0". Pure.

local civil = require "perilune.calendar.civil"

local zone_rule = {}
local Rule = {}
Rule.__index = Rule

local DEFAULT = ",M3.2.0,M11.1.0" -- of a zone that has daylight saving and does not say when
local HOUR = 3600

-- "[+-]hh[:mm[:ss]]" at the beginning of text: seconds, the rest; or nil.
local function time_of(text)
  local sign, hours, rest = text:match "^([+-]?)(%d%d?%d?)(.*)$"
  if not hours then return nil end
  local seconds = tonumber(hours) * HOUR
  for _, unit in ipairs { 60, 1 } do
    local part, after = rest:match "^:(%d%d)(.*)$"
    if not part then break end
    seconds, rest = seconds + tonumber(part) * unit, after
  end
  return sign == "-" and -seconds or seconds, rest
end

local function name_of(text)
  local name, rest = text:match "^<([%w+-]+)>(.*)$"
  if name then return name, rest end
  return text:match "^(%a%a%a+)(.*)$"
end

-- Day number of the `week`-th (5: the last) `weekday` of a month.
local function nth_weekday(year, month, week, weekday)
  local first = civil.day(year, month, 1)
  local day = 1 + (weekday - civil.weekday(first)) % 7 + (week - 1) * 7
  while day > civil.days_in(year, month) do day = day - 7 end
  return first + day - 1
end

-- One date: function(year) → day number, the rest; or nil.
local function date_of(text)
  local month, week, weekday, rest = text:match "^M(%d+)%.(%d)%.(%d)(.*)$"
  if month then
    month, week, weekday = tonumber(month), tonumber(week), tonumber(weekday)
    if month < 1 or month > 12 or week < 1 or week > 5 or weekday > 6 then return nil end
    return function(year) return nth_weekday(year, month, week, weekday) end, rest
  end
  local julian, number, after = text:match "^(J?)(%d+)(.*)$"
  number = tonumber(number)
  if not number or number > 365 or julian == "J" and number < 1 then return nil end
  if julian == "" then return function(year) return civil.day(year, 1, 1) + number end, after end
  return function(year) -- 29 February is never counted
    return civil.day(year, 1, 1) + number - 1 + (civil.is_leap(year) and number >= 60 and 1 or 0)
  end, after
end

-- ",date[/time]" → { day = function(year), time = seconds }, the rest; or nil.
local function change_of(text)
  if text:sub(1, 1) ~= "," then return nil end
  local day, rest = date_of(text:sub(2))
  if not day then return nil end
  local time = 2 * HOUR
  if rest:sub(1, 1) == "/" then
    time, rest = time_of(rest:sub(2))
    if not time then return nil end
  end
  return { day = day, time = time }, rest
end

-- The rule of a text, or nil when it is none.
function zone_rule.parse(text)
  local name, rest = name_of(text)
  if not name then return nil end
  local west
  west, rest = time_of(rest)
  if not west then return nil end
  local rule = setmetatable({ standard = -west, years = {} }, Rule)
  if rest == "" then return rule end
  name, rest = name_of(rest)
  if not name then return nil end
  local saving_west, after = time_of(rest)
  if saving_west then rest = after end
  rule.saving = saving_west and -saving_west or rule.standard + HOUR
  if rest == "" then rest = DEFAULT end
  rule.begins, rest = change_of(rest)
  if not rule.begins then return nil end
  rule.ends, rest = change_of(rest)
  if not rule.ends or rest ~= "" then return nil end
  return rule
end

-- The two changes of a year: { at (UTC seconds), after (offset) }, the earlier first.
local function changes_in(self, year)
  local known = self.years[year]
  if known then return known end
  local begins = self.begins.day(year) * civil.DAY + self.begins.time - self.standard
  local ends = self.ends.day(year) * civil.DAY + self.ends.time - self.saving
  local list = { { at = begins, after = self.saving }, { at = ends, after = self.standard } }
  if ends < begins then list[1], list[2] = list[2], list[1] end
  self.years[year] = list
  return list
end

-- Changes at `from` < at <= `to` (UTC seconds), in order.
function Rule:changes(from, to)
  local list = {}
  if not self.saving then return list end
  local first = civil.date(math.floor(from / civil.DAY)) - 1
  local last = civil.date(math.floor(to / civil.DAY)) + 1
  for year = first, last do
    for _, change in ipairs(changes_in(self, year)) do
      if change.at > from and change.at <= to then list[#list + 1] = change end
    end
  end
  -- Where daylight saving lasts all year, one ends as the next begins.
  table.sort(list, function(a, b)
    if a.at ~= b.at then return a.at < b.at end
    return a.after == self.standard and b.after ~= self.standard
  end)
  return list
end

-- Seconds east of UTC at a time.
function Rule:offset(utc)
  if not self.saving then return self.standard end
  local before = self:changes(utc - 400 * civil.DAY, utc)
  return before[#before].after
end

return zone_rule
