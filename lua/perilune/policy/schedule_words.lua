-- SPDX-License-Identifier: Apache-2.0
--
-- The form `schedule "name" { … }`: what it may hold, and what it becomes (schedule.lua says what that means).
--
--   every = "1h" | between = { "22:00", "06:00" } | cron = "*/5 * * * *"     one of them
--   lasting = "5m"          how long an occurrence of every or cron lasts
--   days = "mon-fri"        on which days occurrences begin; also a list
--   zone = "Europe/Berlin"  whose clocks; the machine's when left out
--   jitter = "30s"          each occurrence is moved later, by up to that
--   hold = "level" | cap = "level"

local civil = require "perilune.calendar.civil"
local cron = require "perilune.calendar.cron"
local form = require "perilune.base.form"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local units = require "perilune.base.units"
local words = require "perilune.base.words"
local zone = require "perilune.calendar.zone"

local schedule_words = {}

local fail = sandbox.fail

local SHORTEST, LONGEST, MOST_JITTER = 1, 7 * 86400, 3600 -- seconds
local DAYS_HINT = 'like days = "mon-fri" or days = { "mon", "thu" }'
local WEEKDAY = {}
for number = 0, 6 do WEEKDAY[cron.DAYS[number]] = number end

-- "22:00", "06:00:30" → seconds of the day; "24:00" is its end.
local function clock(text)
  local hours, minutes, rest = tostring(text):match "^(%d%d?):(%d%d)(.*)$"
  local seconds = rest == "" and "00" or rest and rest:match "^:(%d%d)$"
  if not seconds or type(text) ~= "string" then return nil end
  local sum = tonumber(hours) * 3600 + tonumber(minutes) * 60 + tonumber(seconds)
  if tonumber(minutes) > 59 or tonumber(seconds) > 59 or sum > 86400 then return nil end
  return sum
end

local function between(value)
  local hint = 'like between = { "22:00", "06:00" }'
  if type(value) ~= "table" or #value ~= 2 then return nil, "expected two times of the day", hint end
  local times = {}
  for i = 1, 2 do
    local text = schema.value(value[i], { type = "text" }) or value[i] -- an option stands for its value
    times[i] = clock(text)
    if not times[i] then return nil, ("%s is no time of the day"):format(units.quote(text)), hint end
  end
  if times[1] == times[2] or times[1] == 86400 then return nil, "it ends when it begins", hint end
  return { times[1], times[2], text = ("%s to %s"):format(value[1], value[2]) }
end

local function days(value)
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" or #value == 0 then return nil, "expected days", DAYS_HINT end
  local set = {}
  for i, text in ipairs(value) do
    local from, to = tostring(text):match "^(%a+)%-(%a+)$"
    local first, last = WEEKDAY[from or text], WEEKDAY[to or text]
    if not first or not last then return nil, ("%s is no day"):format(units.quote(text)), DAYS_HINT end
    for offset = 0, (last - first) % 7 do set[(first + offset) % 7] = true end
    value[i] = text
  end
  set.text = table.concat(value, ", ")
  return set
end

local function open_zone(value)
  if type(value) ~= "string" then return nil, "expected the name of a time zone", 'like zone = "Europe/Berlin"' end
  local found, message, hint = zone.open(value)
  if not found then return nil, message, hint end
  return value
end

local function expression(value)
  if type(value) ~= "string" then return nil, "expected an expression", 'like cron = "*/5 * * * *"' end
  local parsed, message, hint = cron.parse(value)
  if not parsed then return nil, message, hint end
  return value
end

schedule_words.SPEC = schema.new {
  what = "schedule",
  keys = {
    every = { type = "duration", min = SHORTEST, max = LONGEST }, between = { type = between },
    cron = { type = expression },
    lasting = { type = "duration", min = SHORTEST, max = LONGEST }, days = { type = days }, zone = { type = open_zone },
    jitter = { type = "duration", max = MOST_JITTER }, hold = { type = "text" }, cap = { type = "text" },
  },
}

-- The one of several keys that is written. Fails when none or several are.
local function one_of(values, keys, at, title)
  local found
  for _, key in ipairs(keys) do
    if values[key] and found then
      fail(at, ("%s has both %s and %s"):format(title, found, key), "leave one of them out")
    end
    found = values[key] and key or found
  end
  if not found then
    fail(at, ("%s has none of %s"):format(title, words.list(keys)), "write one of them")
  end
  return found
end

local function check_lasting(values, kind, at, title)
  if kind == "between" then
    if values.lasting then fail(at, title .. ": between says when it ends", "leave out lasting") end
  elseif not values.lasting then
    fail(at, ("%s lacks lasting"):format(title), 'how long it lasts each time, like lasting = "5m"')
  elseif kind == "every" and values.lasting >= values.every then
    fail(at, ("%s lasts as long as its period, so it never ends"):format(title),
      "make lasting shorter than every")
  end
end

-- The level that it holds or caps, which has to make a difference.
local function check_level(values, act, levels, at, title)
  local names, position = {}, nil
  for i, level in ipairs(levels) do
    names[i] = level.name
    if level.name == values[act] then position = i end
  end
  if not position then
    fail(at, ('%s %ss the unknown level "%s"'):format(title, act, values[act]),
      words.suggest(values[act], names))
  elseif act == "hold" and position == 1 then
    fail(at, ('%s holds "%s", which is in force anyway'):format(title, values.hold),
      "hold a deeper level, or cap at it")
  elseif act == "cap" and position == #levels then
    fail(at, ('%s caps at "%s", which none is above'):format(title, values.cap), "cap at a cheaper level, or hold it")
  end
end

local function text_of(values, kind)
  local when = kind == "between" and values.between.text or kind == "cron" and "cron " .. values.cron
    or "every " .. units.print(values.every, "duration")
  if values.lasting then when = when .. " for " .. units.print(values.lasting, "duration") end
  if values.days then when = when .. " on " .. values.days.text end
  return values.zone and ("%s, %s"):format(when, values.zone) or when
end

-- One form's declaration. Fails, located, at what does not fit.
function schedule_words.declare(one, levels)
  local values, at, title = one.values, one.at, ('schedule "%s"'):format(one.name)
  local kind = one_of(values, { "every", "between", "cron" }, at, title)
  local act = one_of(values, { "hold", "cap" }, at, title)
  check_lasting(values, kind, at, title)
  check_level(values, act, levels, at, title)
  local days_set = values.days
  if kind == "cron" and days_set and not cron.parse(values.cron):possible(function(day)
    return days_set[civil.weekday(day)] == true
  end) then
    fail(at, ('%s: "%s" is never on %s'):format(title, values.cron, days_set.text), "leave out days")
  end
  if not values.zone then
    local own, message, hint = zone.open(nil)
    if not own then fail(at, ("%s: %s"):format(title, message), hint or 'name one, like zone = "UTC"') end
  end
  return {
    name = one.name, every = values.every, between = values.between, cron = values.cron, lasting = values.lasting,
    days = days_set, zone = values.zone, jitter = values.jitter, hold = values.hold, cap = values.cap,
    text = text_of(values, kind), line = at.line, file = at.file,
  }
end

-- A list's declarations.
function schedule_words.list(forms, levels)
  local list = {}
  for i, one in ipairs(forms) do list[i] = schedule_words.declare(one, levels) end
  return list
end

-- The word itself.
function schedule_words.word()
  return form.word("schedule", function(name, body, at)
    local values = form.parse(schedule_words.SPEC, body, at, ('"%s"'):format(name))
    return form.new { form = "schedule", name = name, at = at, values = values }
  end)
end

return schedule_words
