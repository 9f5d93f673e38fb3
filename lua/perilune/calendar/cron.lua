-- SPDX-License-Identifier: Apache-2.0
--
-- Expressions of cron(8): which minutes of which days. Pure; what becomes of hours that a zone skips or repeats is
-- schedule.lua's matter.
--
--   minute hour day-of-month month day-of-week      0-59 0-23 1-31 1-12|jan-dec 0-7|sun-sat
--   * , - /    and @hourly @daily @midnight @weekly @monthly @yearly @annually
--
-- As in Vixie's and its descendants: where both kinds of days are restricted, either will do; a field that begins
-- with * is not restricted (so "*/2" of days and "mon" mean every second day that is a Monday).

local civil = require "perilune.calendar.civil"

local cron = {}
local Cron = {}
Cron.__index = Cron

local MONTHS = { "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec" }
local DAYS = { [0] = "sun", "mon", "tue", "wed", "thu", "fri", "sat" }

cron.DAYS = DAYS

local function numbers(names, first)
  local map = {}
  for i = first, #names do map[names[i]] = i end
  return map
end

local FIELDS = {
  { key = "minutes", what = "minute", low = 0, high = 59 },
  { key = "hours", what = "hour", low = 0, high = 23 },
  { key = "days", what = "day of the month", low = 1, high = 31 },
  { key = "months", what = "month", low = 1, high = 12, names = numbers(MONTHS, 1) },
  { key = "weekdays", what = "day of the week", low = 0, high = 7, names = numbers(DAYS, 0) },
}

local MACROS = {
  ["@hourly"] = "0 * * * *", ["@daily"] = "0 0 * * *", ["@midnight"] = "0 0 * * *", ["@weekly"] = "0 0 * * 0",
  ["@monthly"] = "0 0 1 * *", ["@yearly"] = "0 0 1 1 *", ["@annually"] = "0 0 1 1 *",
}

local HINT = 'like cron = "*/5 8-18 * * mon-fri": minute, hour, day of the month, month, day of the week'

local function range_of(field)
  return ("%s is %d to %d"):format(field.what, field.low, field.high)
    .. (field.names and field.key == "months" and " or jan to dec" or field.names and " or sun to sat" or "")
end

local function number_of(text, field)
  local number = field.names and field.names[text:lower()] or text:match "^%d+$" and tonumber(text)
  if number and number >= field.low and number <= field.high then return number end
end

-- One part of a list: first, last, step; or nil, message.
local function part_of(text, field)
  local range, step = text:match "^(.-)/(%d+)$"
  range, step = range or text, step and tonumber(step) or 1
  if step < 1 or text:find "/$" then return nil, ("the step of %q is not a number from 1"):format(text) end
  if range == "*" then return field.low, field.key == "weekdays" and 6 or field.high, step end
  local from, to = range:match "^(%w+)%-(%w+)$"
  if not from and text ~= range then return nil, ("%q has a step without a range"):format(text) end
  local first, last = number_of(from or range, field), number_of(to or range, field)
  if not first or not last then return nil, ("%q is no %s"):format(text, field.what) end
  if first > last then return nil, ("%q runs backwards"):format(text) end
  return first, last, step
end

-- A field: the set of its numbers, and whether it begins with *; or nil, message.
local function field_of(text, field)
  local set = {}
  for part in (text .. ","):gmatch "([^,]*)," do
    local first, last, step = part_of(part, field)
    if not first then return nil, last end
    for number = first, last, step do set[number] = true end
  end
  if field.key == "weekdays" and set[7] then set[0], set[7] = true, nil end
  return set, text:sub(1, 1) == "*"
end

local function sorted(set, low, high)
  local list = {}
  for number = low, high do
    if set[number] then list[#list + 1] = number end
  end
  return list
end

-- Whether a day of the calendar is one of the expression's.
function Cron:on(day)
  local _, month, of_month = civil.date(day)
  if not self.months[month] then return false end
  local dom, dow = self.days[of_month] == true, self.weekdays[civil.weekday(day)] == true
  if self.any_day or self.any_weekday then return dom and dow end
  return dom or dow
end

-- Whether there is a day, of those that also(day) is true for, when that is given. The calendar repeats after 400
-- years; looking at some of its days will do for most.
function Cron:possible(also)
  for day = 0, 146096 do
    if self:on(day) and (not also or also(day)) then return true end
  end
  return false
end

-- { times = sorted seconds of the day, wild = whether minute or hour begin with *, … } | nil, message, hint.
function cron.parse(text)
  local spelt = MACROS[text] or text
  if spelt:sub(1, 1) == "@" then return nil, ("there is no %q"):format(text), HINT end
  local words = {}
  for word in spelt:gmatch "%S+" do words[#words + 1] = word end
  if #words ~= #FIELDS then return nil, ("%q has %d fields, not 5"):format(text, #words), HINT end
  local self, star = setmetatable({ text = text }, Cron), {}
  for i, field in ipairs(FIELDS) do
    local set, begins = field_of(words[i], field)
    if not set then return nil, ("%s: %s"):format(field.what, begins), range_of(field) end
    self[field.key], star[field.key] = set, begins
  end
  self.any_day, self.any_weekday, self.wild = star.days, star.weekdays, star.minutes or star.hours
  self.times = {}
  for _, hour in ipairs(sorted(self.hours, 0, 23)) do
    for _, minute in ipairs(sorted(self.minutes, 0, 59)) do
      self.times[#self.times + 1] = hour * 3600 + minute * 60
    end
  end
  if not self:possible() then
    return nil, ("%q is never: there is no such day"):format(text), "is it a day that the month has?"
  end
  return self
end

return cron
