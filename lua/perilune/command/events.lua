-- SPDX-License-Identifier: Apache-2.0
-- perilune events: what the daemon's policies have done, and do.
local client = require "perilune.client"
local drive = require "perilune.client.drive"
local event = require "perilune.event"
local event_read = require "perilune.event.read"
local format = require "perilune.base.format"
local json = require "perilune.base.json"
local output = require "perilune.base.output"
local place = require "perilune.client.place"
local sink_text = require "perilune.show.sink_text"
local words = require "perilune.base.words"

local events = {
  usage = "perilune events [POLICY] [-f] [--only EVENT,…] [--last N] [--windows] [--json] "
    .. "[--socket PATH | --server URL] […]",
  summary = "what the daemon's policies have done, and go on doing",
  options = place.with { follow = "flag", ["-f"] = "follow", only = "text", last = "text", windows = "flag",
    json = "flag" },
  help = [[
Prints the last changes of level and the last errors of the daemon's policies; with -f also everything that happens from
now on, until Ctrl-C.

  -f, --follow        goes on: attachments, rules, changes of level, actions, errors …
  --only EVENT,…      only these (transition,error)
  --windows           windows too
  --last N            at most so many of what has been (20)
  --json              one JSON object a line, as event.schema.json describes
]] .. place.help,
}

local KEPT = { transition = "transitions", error = "errors", window = "windows" } -- event → the daemon's list of them
local MOST_KEPT = 256

-- Event → true of what is asked for; nil for everything but windows. nil, message.
local function wanted_of(parsed)
  if not parsed.only then return nil end
  local set, known = {}, {}
  for _, name in ipairs(event.names) do known[name] = true end
  for name in parsed.only:gmatch "[^,%s]+" do
    if not known[name] then
      return nil, ("--only %s: there is no such event (%s)"):format(name, words.suggest(name, event.names))
    end
    set[name] = true
  end
  if parsed.windows then set.window = true end
  return set
end

-- The lines of an event, the name of its policy in front when there may be several; nil, message.
local function lines_of(text, parsed)
  if parsed.json then return { text } end
  local e, message = event_read.decode(text)
  if not e then return nil, message end
  local lines = sink_text.lines(e, {})
  if not parsed[1] and e.policy then lines[1] = format.clean(e.policy) .. ": " .. lines[1] end
  return lines
end

-- Prints events; an output that nobody reads any more is the end, and a good one.
local function printer(parsed, context)
  local out = output.new(1)
  return function(text, finish)
    local lines, message = lines_of(text, parsed)
    if not lines then return context.err("perilune: " .. message) end
    local ok, why, code = out:write(table.concat(lines, "\n") .. "\n")
    if not ok then finish(code == "EPIPE" and context.exit.done or context.broke(why, code)) end
  end
end

local function by_time(a, b)
  if a.time ~= b.time then return a.time < b.time end
  return a.at < b.at
end

-- What the daemon has kept of these policies, oldest first.
local function past(daemon, names, parsed, wanted, last, context, finish, fn)
  local paths = {}
  for _, name in ipairs(names) do
    for kind, list in pairs(KEPT) do
      if wanted and wanted[kind] or not wanted and (kind ~= "window" or parsed.windows) then
        paths[name .. " " .. list] = ("/v1/policies/%s/%s?limit=%d"):format(client.escape(name), list, last)
      end
    end
  end
  if next(paths) == nil then return fn {} end
  drive.gather(daemon, context, finish, paths, function(values)
    local all = {}
    for _, value in pairs(values) do
      for _, list in pairs(value) do
        for i, one in ipairs(list) do all[#all + 1] = { time = one.time, at = i, value = one } end
      end
    end
    table.sort(all, by_time)
    local out = {}
    for i = math.max(1, #all - last + 1), #all do
      local e = event_read.of(all[i].value)
      if e then out[#out + 1] = event.encode(e) end
    end
    fn(out)
  end)
end

-- What the stream is asked for: it has no list of everything but windows.
local function stream_path(parsed, wanted)
  local query, names = {}, {}
  for _, name in ipairs(words.keys(wanted or {})) do names[#names + 1] = name end
  if #names > 0 then query[1] = "events=" .. table.concat(names, ",") end
  if parsed[1] then query[#query + 1] = "policy=" .. client.escape(parsed[1]) end
  if wanted and wanted.records then query[#query + 1] = "records=true" end
  return "/v1/stream" .. (#query > 0 and "?" .. table.concat(query, "&") or "")
end

local function follow(daemon, parsed, wanted, context, finish, show)
  daemon:stream(stream_path(parsed, wanted), function(name, text)
    if name == "lost" then
      local lost = json.decode(text)
      return context.err(("perilune: %s events were missed: too many to be read in time"):format(
        format.count(lost and lost.events or 0)))
    end
    if wanted and not wanted[name] or not wanted and name == "window" and not parsed.windows then return end
    show(text, finish)
  end, function(failure) finish(drive.failed(context, failure)) end)
end

function events.run(parsed, context)
  if #parsed > 1 then return context.fail "events takes one policy, or none for all" end
  local wanted, message = wanted_of(parsed)
  if message then return context.fail(message) end
  local last = 20
  if parsed.last then
    last = tonumber(parsed.last)
    if not last or last < 0 or last > MOST_KEPT or last % 1 ~= 0 then
      return context.fail(("--last %s: a number from 0 to %d"):format(parsed.last, MOST_KEPT))
    end
  end
  local show = printer(parsed, context)
  return drive.run(parsed, context, function(daemon, finish)
    local function begin(names)
      local function go_on()
        if parsed.follow then return follow(daemon, parsed, wanted, context, finish, show) end
        finish(context.exit.done)
      end
      if last == 0 then return go_on() end
      past(daemon, names, parsed, wanted, last, context, finish, function(texts)
        for _, text in ipairs(texts) do show(text, finish) end
        if #texts == 0 and not parsed.follow and not parsed.json then
          context.err "perilune: nothing to tell yet (-f waits for what comes, --windows shows windows too)"
        end
        go_on()
      end)
    end
    if parsed[1] then return begin { parsed[1] } end
    daemon:ask("GET", "/v1/policies", nil, function(value, failure)
      if failure then return finish(drive.failed(context, failure)) end
      local names = {}
      for i, policy in ipairs(value.policies) do names[i] = policy.name end
      begin(names)
    end)
  end)
end

return events
