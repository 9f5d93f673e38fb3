-- SPDX-License-Identifier: Apache-2.0
-- What the language's schedules do on a clock that is ours: for test_schedules.py, which judges it.
--
--   luajit schedules.lua < LINES
--
--   offsets ZONE SECONDS…                 → offsets at these times
--   run NAME FROM TO TEXT                 → "BEGIN END …" in µs, of the schedule `schedule "NAME" { TEXT }` from FROM to TO (s)
--   at NAME TEXT | SECONDS…               → "1 0 …": whether it is active at these times, asked in this order
--   error TEXT                            → the message for a policy with this schedule, or "none"
local policy = require "perilune.policy"
local schedule = require "perilune.calendar.schedule"
local template = require "perilune.probe.template"
local zone = require "perilune.calendar.zone"

local templates = template.registry({ "templates" }, function() return { "counter" } end)

local function load(name, text)
  return policy.load { name = "p.lua", templates = templates, source = ([[return policy "p" {
    attach = { iface = "lo" }, always = { counter "totals" {} },
    levels = { level "calm" {}, level "deep" {} },
    schedules = { schedule "%s" { %s } } }]]):format(name, text) }
end

local function made(name, text)
  local decl, message = load(name, text)
  if not decl then error(message) end
  return schedule.new(decl.schedules[1], decl.name)
end

local commands = {}

function commands.offsets(line)
  local name, rest = line:match "^(%S+) (.*)$"
  local found, out = assert(zone.open(name)), {}
  for seconds in rest:gmatch "%S+" do out[#out + 1] = ("%d"):format(found:offset(tonumber(seconds))) end
  return table.concat(out, " ")
end

function commands.run(line)
  local name, from, to, text = line:match "^(%S+) (%S+) (%S+) (.*)$"
  local one, now, last = made(name, text), tonumber(from) * 1e6, tonumber(to) * 1e6
  local out, was = {}, false
  while now < last do
    local active, again = one:at(now)
    assert(again > now, "no progress")
    if active ~= was then
      out[#out + 1] = ("%.0f"):format(now)
      was = active
    end
    now = again
  end
  return table.concat(out, " ")
end

function commands.at(line)
  local name, text, rest = line:match "^(%S+) (.*) | (.*)$"
  local one, out = made(name, text), {}
  for seconds in rest:gmatch "%S+" do out[#out + 1] = one:at(tonumber(seconds) * 1e6) and "1" or "0" end
  return table.concat(out, " ")
end

function commands.error(line)
  local decl, message = load("s", line)
  return decl and "none" or message
end

for line in io.lines() do
  local command, rest = line:match "^(%S+) (.*)$"
  print(commands[command](rest))
end
