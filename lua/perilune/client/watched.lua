-- SPDX-License-Identifier: Apache-2.0
--
-- A policy of the daemon for a view (top.lua, sink_text.lua): its declaration as far as views read it, and its events
-- and records as they come, in the place of an engine.
local client = require "perilune.client"
local event_read = require "perilune.event.read"
local json = require "perilune.base.json"
local list = require "perilune.records.list"
local loop = require "perilune.core.loop"
local moment = require "perilune.base.moment"
local words = require "perilune.base.words"

local watched = {}

-- What a view reads of a declaration; probes of templates that are not known here have no rows to show.
local function declaration(detail, templates)
  local decl = { name = detail.name, levels = detail.levels, probes = {} }
  for _, probe in ipairs(detail.probes) do
    local manifest = templates:get(probe.template)
    if manifest then
      decl.probes[#decl.probes + 1] = { name = probe.name, template = probe.template, manifest = manifest,
        key = probe.key, features = probe.features }
    end
  end
  return decl
end

-- The policy that is wanted, or the only one that runs.
local function pick(all, wanted)
  local names, running = {}, {}
  for i, one in ipairs(all) do
    names[i] = one.name
    if one.state == "running" then running[#running + 1] = one.name end
  end
  if not wanted and #running == 1 then return running[1] end
  if not wanted then
    return nil, #all == 0 and "the daemon has no policy (perilune serve POLICY.lua, or perilune top POLICY.lua)"
      or ("which policy? (perilune top --attach NAME: %s)"):format(words.list(names))
  end
  for _, name in ipairs(names) do
    if name == wanted then return name end
  end
  return nil, ("there is no policy %s (%s)"):format(wanted, words.suggest(wanted, names, "there are none"))
end

--- name: of the policy, or nil for the only one. done({ decl, detail }) | done(nil, message, code)
function watched.find(daemon, name, templates, done)
  local function failed(failure) done(nil, failure.message, failure.code) end
  daemon:ask("GET", "/v1/policies", nil, function(value, failure)
    if failure then return failed(failure) end
    local found, message = pick(value.policies, name)
    if not found then return done(nil, message, "EINVAL") end
    daemon:ask("GET", "/v1/policies/" .. client.escape(found), nil, function(detail, refused)
      if refused then return failed(refused) end
      if detail.state ~= "running" then
        return done(nil, ("the policy %s does not run: it is %s%s"):format(found, detail.state,
          detail.failure and ": " .. detail.failure or ""), "EIO")
      end
      done { decl = declaration(detail, templates), detail = detail }
    end)
  end)
end

local function names_of(levels)
  local names = {}
  for i, level in ipairs(levels) do names[i] = level.name end
  return names
end

-- What a view would have been told, had it been there from the start.
local function introduce(sink, detail)
  local base = detail.levels[1]
  local head = { v = 1, policy = detail.name, time = detail.started and moment.parse(detail.started) or loop.wall() }
  local function tell(e)
    for key, value in pairs(head) do e[key] = value end
    sink:event(e)
  end
  tell { event = "start", levels = names_of(detail.levels), window = base.window_seconds }
  for _, one in ipairs(detail.attachments) do
    tell { event = "attach", iface = one.iface, hook = one.hook, mode = one.mode, ifindex = one.ifindex,
      netns = one.netns }
  end
end

local function no_op() end

--- Tells `sink` what happens from now on; ended(message, code) when the daemon does. → stream
function watched.follow(daemon, found, sink, ended)
  local keys, window = {}, nil
  for _, probe in ipairs(found.decl.probes) do keys[probe.name] = probe.key end
  introduce(sink, found.detail)
  return daemon:stream("/v1/stream?records=true&policy=" .. client.escape(found.decl.name), function(name, text)
    if name == "lost" then
      local lost = json.decode(text)
      return sink:status(("%d events were missed: too many to be read in time"):format(lost and lost.events or 0))
    end
    local e = event_read.decode(text)
    if not e then return end
    if e.event ~= "records" then
      if e.event == "window" then window = { e = e, rows = {} } end
      return sink:event(e)
    end
    if not window or not sink.keep then return end
    -- A window's records come one probe after the other, and each is shown as soon as it is there.
    window.rows[e.probe] = list.new(e.rows, { keys = keys[e.probe], seconds = window.e.seconds })
    sink:keep({ seq = e.seq, seconds = window.e.seconds, cut = window.e.cut }, { rows = window.rows }, no_op)
  end, function(failure) ended(failure.message, failure.code) end)
end

return watched
