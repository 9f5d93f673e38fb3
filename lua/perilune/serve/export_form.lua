-- SPDX-License-Identifier: Apache-2.0
--
-- The word export of the daemon's configuration: where events go as JSON, one a line, as `perilune run --json`
-- has them.
--
--   exports = {
--     export "archive" { file = "windows.jsonl", size = "100MB", keep = 9 },   -- FILE, FILE.1 … FILE.9
--     export "out"     { stdout = true, events = { "window", "transition" } },
--     export "peer"    { unix = "/run/collector.sock", policies = { "edge" }, queue = "4MB" },
--     export "log"     { syslog = true, events = { "transition", "error" } },
--   }
--
-- events: windows and records, if not said. queue: bytes that wait for who takes them slowly, or is not there;
-- what does not fit is lost, counted (perilune_export_lost_total) and said in the log. A policy never waits for
-- any of it. syslog: the socket, if it is not /dev/log; facility: "daemon" or another of syslog(3).
local event = require "perilune.event"
local form = require "perilune.base.form"
local sandbox = require "perilune.base.sandbox"
local schema = require "perilune.base.schema"
local words = require "perilune.base.words"

local export_form = {}

-- As in syslog(3).
export_form.FACILITIES = { daemon = 3, user = 1, local0 = 16, local1 = 17, local2 = 18, local3 = 19, local4 = 20,
  local5 = 21, local6 = 22, local7 = 23 }

local DEVICE = "/dev/log"

local function names(value)
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" or #value == 0 then return nil, "expected a list of names", 'like { "window" }' end
  local list = {}
  for key, name in pairs(value) do
    if type(key) ~= "number" or type(name) ~= "string" then
      return nil, "expected a list of names", 'like { "window" }'
    end
    list[key] = name
  end
  return list
end

local function device(value)
  if value == true then return DEVICE end
  if type(value) == "string" then return value end
  return nil, "expected true or the path of a socket", "like syslog = true"
end

export_form.SPEC = schema.new {
  what = "export",
  keys = {
    file = { type = "text" }, stdout = { type = "bool", default = false }, unix = { type = "text" },
    syslog = { type = device }, facility = { type = "text", one_of = words.keys(export_form.FACILITIES) },
    size = { type = "size", min = 4096 }, keep = { type = "count", min = 0, max = 1000 },
    events = { type = names, default = { "window", "records" } }, policies = { type = names },
    queue = { type = "size", min = 64000, max = 1e9, default = 16 * 1000 * 1000 },
  },
}

local PLACES = { "file", "stdout", "unix", "syslog" }

-- Which key belongs to which place alone.
local OWN = { size = "file", keep = "file", facility = "syslog" }

local function place_of(values, at, title)
  local found
  for _, place in ipairs(PLACES) do
    if values[place] then
      if found then sandbox.fail(at, ("%s: either %s or %s"):format(title, found, place), "leave one out") end
      found = place
    end
  end
  if not found then sandbox.fail(at, title .. ": where to?", "file, stdout = true, unix or syslog = true") end
  for key, place in pairs(OWN) do
    if values[key] and place ~= found then
      sandbox.fail(at, ("%s: %s is for %s"):format(title, key, place), "leave it out")
    end
  end
  return found
end

-- Events of running policies; those of tests and audit logs are others.
local function check_events(list, at, title)
  local known = {}
  for _, name in ipairs(event.names) do known[name] = true end
  for _, name in ipairs(list) do
    if not known[name] then
      sandbox.fail(at, ("%s: %s is no event"):format(title, name), words.suggest(name, words.keys(known)))
    end
  end
end

local function set_of(list)
  if not list then return nil end
  local set = {}
  for _, name in ipairs(list) do set[name] = true end
  return set
end

--- The word; beside(path): where a path of the configuration is.
function export_form.word(beside)
  return form.word("export", function(name, body, at)
    local title = ('export "%s"'):format(name)
    local values = form.parse(export_form.SPEC, body, at, ('"%s"'):format(name))
    local place = place_of(values, at, title)
    check_events(values.events, at, title)
    return form.new {
      form = "export", name = name, at = at, place = place,
      path = place ~= "stdout" and (place == "syslog" and values.syslog or beside(values[place])) or nil,
      facility = values.facility or "daemon", size = values.size or 100e6, keep = values.keep or 9,
      events = set_of(values.events), policies = set_of(values.policies), queue = values.queue,
    }
  end)
end

--- The list of forms as plain data. Two of one name, and two that write to the same place, are errors.
function export_form.list(forms)
  local out, seen, places = {}, {}, {}
  for i, one in ipairs(forms) do
    local where = one.place .. " " .. (one.path or "")
    if seen[one.name] then
      sandbox.fail(one.at, ('two exports are called "%s"'):format(one.name), "give one another name")
    end
    if places[where] then
      sandbox.fail(one.at, ('export "%s" writes where "%s" does'):format(one.name, places[where]), "leave one out")
    end
    seen[one.name], places[where] = true, one.name
    out[i] = { name = one.name, place = one.place, path = one.path, facility = one.facility, size = one.size,
      keep = one.keep, events = one.events, policies = one.policies, queue = one.queue }
  end
  return out
end

return export_form
