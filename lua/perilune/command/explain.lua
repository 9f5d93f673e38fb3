-- SPDX-License-Identifier: Apache-2.0
-- perilune explain: an audit log as a story, or evaluated again.
local audit_file = require "perilune.audit.file"
local audit_read = require "perilune.audit.read"
local audit_verify = require "perilune.audit.verify"
local decide = require "perilune.engine.decide"
local event = require "perilune.event"
local explain = require "perilune.audit.explain"
local files = require "perilune.core.files"
local format = require "perilune.base.format"
local levels = require "perilune.engine.levels"
local moment = require "perilune.base.moment"

local command = {
  usage = "perilune explain AUDIT.log [--rule NAME] [--since TIME] [--until TIME] [--verify] [--json]",
  summary = "why levels changed: an audit log as a story, or evaluated again",
  options = { verify = "flag", json = "flag", rule = "text", since = "text", ["until"] = "text" },
  help = [[
run and replay write such a log with --audit FILE. It is told moment by moment: which level was left for which, why,
who held and who capped it, what was done, how long a level lasted and what it saw, what it cost and what was lost.
Files that have become full (FILE.1, FILE.2 …) are read as well.

  --rule NAME     only what this rule had part in
  --since TIME    only from then on; --until TIME: only before. "2026-03-29T00:55:00Z", or local time as it is
                  printed: "2026-03-29 01:55"
  --verify        evaluates the log again: what it says was read goes through the same code that decides live, and
                  every change of a rule, a set and a level has to come out as the log says
  --json          one JSON object for each moment]],
}

-- What the log consists of: FILE.8 … FILE.1, FILE, as sources of lines.
local function sources_of(path)
  local kind, message, code = files.kind(path)
  if not kind then return nil, message, code end
  if kind == "directory" then return nil, path .. ": a directory, not an audit log" end
  local names = files.list(path:match "^(.*/)" or ".") or {}
  local list = {}
  for i, name in ipairs(audit_file.all(path, names)) do
    local file
    file, message = io.open(name, "rb")
    if not file then return nil, message, "EACCES" end
    list[i] = { name = name, lines = file:lines() }
  end
  return list
end

-- A time as it is written in a log, or as it is printed, in local time. → µs
local function time_of(text)
  local us = moment.parse(text)
  if us then return us end
  local year, month, day, hour, minute, rest = text:match "^(%d%d%d%d)-(%d%d)-(%d%d)[ T](%d%d):(%d%d)(.*)$"
  local second = rest == "" and "0" or rest and rest:match "^:(%d%d%.?%d*)$"
  if not second then return nil end
  local seconds = os.time { year = year, month = month, day = day, hour = hour, min = minute, sec = 0 }
  return seconds and math.floor((seconds + tonumber(second)) * 1e6)
end

local function window_of(parsed)
  local out = { since = 0, till = math.huge }
  for name, key in pairs { since = "since", ["until"] = "till" } do
    if parsed[name] then
      out[key] = time_of(parsed[name])
      if not out[key] then
        return nil, ('--%s %s: no time (write it like "2026-03-29T00:55:00Z" or "2026-03-29 01:55")'):format(name,
          parsed[name])
      end
    end
  end
  return out
end

-- Prints moments, each with its time; a new day has a line of its own.
local function text_teller(context)
  local day
  return function(told)
    local lines = explain.lines(told)
    if #lines == 0 then return end
    local today = os.date("%F", told.time / 1e6)
    if today ~= day then
      context.out((day and "\n" or "") .. today)
      day = today
    end
    local clock = format.clock(told.time)
    for i, line in ipairs(lines) do
      context.out(((i == 1 and clock or (" "):rep(#clock)) .. (line[2] and "    " or "  ")) .. line[1])
    end
  end
end

local function json_teller(context)
  return function(told)
    for _, e in ipairs(explain.events(told)) do context.out(event.encode(e)) end
  end
end

local function note_cut(record, context)
  if record.cut_before then
    context.err(("perilune: %s: cut short: perilune or the machine went down while it was written"):format(
      record.cut_before))
  end
end

local function tell(records, parsed, context)
  local between, message = window_of(parsed)
  if not between then return context.fail(message) end
  local show = parsed.json and json_teller(context) or text_teller(context)
  local any, shown = false, false
  local story = explain.new(function(told)
    if told.time < between.since or told.time >= between.till then return end
    if parsed.rule and not explain.concerns(told, parsed.rule) then return end
    shown = true
    show(told)
  end)
  while true do
    local record, wrong = records()
    if not record then
      story:finish()
      if not wrong and not shown then
        local what = any and "nothing in it is what was asked for" or "holds nothing yet"
        context.err(("perilune: %s: %s"):format(parsed[1], what))
      end
      return wrong and context.fail(wrong) or context.exit.done
    end
    any = true
    note_cut(record, context)
    story:take(record)
  end
end

local function verify(records, path, context)
  local function noted()
    local record, message = records()
    if record then note_cut(record, context) end
    return record, message
  end
  local counts, message, untrue = audit_verify.run({ decide = decide.new, levels = levels.new }, noted)
  if not counts then return untrue and context.broke(message) or context.fail(message) end
  local function n(name) return format.count(counts[name]) end
  context.out(("%s: %s changes of level, %s of rules and %s of sets all follow from what was read in %s windows")
    :format(path, n "transition", n "rule", n "action", n "judged"))
  return context.exit.done
end

function command.run(parsed, context)
  if #parsed ~= 1 then
    return context.fail "explain needs an audit log (perilune run POLICY.lua --audit FILE writes one)"
  end
  local sources, message, code = sources_of(parsed[1])
  if not sources then return context.fail(message, code) end
  local records = audit_read.records(sources)
  if parsed.verify then return verify(records, parsed[1], context) end
  return tell(records, parsed, context)
end

return command
