-- SPDX-License-Identifier: Apache-2.0
--
-- Everything that a scraper gets: of the daemon itself, of every policy's process what it tells
-- (exposition.lua), and for those that do not run, that they do not.
--
--   scrape:collect(done) ─▶ asks all policies at once ─▶ done(text of a format) once all have answered, or are late
--
-- An exposition is made at most some times a second, and clients that come meanwhile get the same one: scraping
-- costs the policies next to nothing, however many do it. A policy that is late is left out, and
-- perilune_scrape_late counts it.
local json = require "perilune.base.json"
local loop = require "perilune.core.loop"
local files = require "perilune.core.files"
local openmetrics = require "perilune.metrics.openmetrics"
local resident = require "perilune.base.resident"
local words = require "perilune.base.words"

local scrape = {}
local Scrape = {}
Scrape.__index = Scrape

local FRESH = 0.1 -- seconds
local PATIENCE = 2 -- seconds that a policy has to answer
local STATES = { "starting", "running", "stopping", "ended", "failed" }

--- context: of the daemon's routes: policies, hub, labels, version, log, and connections() → how many there are.
function scrape.new(context)
  return setmetatable({
    context = context, began = loop.wall() / 1e6, requests = {}, late = 0, misfits = {}, refused = 0,
  }, Scrape)
end

--- A request is answered, for perilune_http_requests_total.
function Scrape:answered(status)
  self.requests[status] = (self.requests[status] or 0) + 1
end

-- ---------------------------------------------------------------------------------------------- the daemon's own

local function add_one(families, spec, value, labels, created)
  if value == nil then return end
  local family = openmetrics.family(spec)
  family:add(openmetrics.labels(labels or {}), value, created)
  families[#families + 1] = family
end

local function open_files()
  local list = files.list "/proc/self/fd"
  return list and #list
end

-- Under the names that every process has in Prometheus.
local function process_families(self, families)
  add_one(families, { name = "process_cpu", unit = "seconds", type = "counter",
    help = "CPU time of the daemon; the policies have processes of their own" }, os.clock(), nil, self.began)
  add_one(families, { name = "process_resident_memory", unit = "bytes", type = "gauge",
    help = "resident memory of the daemon" }, resident())
  add_one(families, { name = "process_open_fds", type = "gauge", help = "file descriptors of the daemon" },
    open_files())
  add_one(families, { name = "process_start_time", unit = "seconds", type = "gauge",
    help = "when the daemon began, since the epoch" }, self.began)
  add_one(families, { name = "perilune_daemon_lua_memory", unit = "bytes", type = "gauge",
    help = "memory of the daemon's Lua" }, collectgarbage "count" * 1024)
end

local function who_families(self, families)
  local context = self.context
  local build = openmetrics.family { name = "perilune_build", type = "info", help = "which perilune it is" }
  build:info(openmetrics.labels { { "version", context.version }, { "lua", jit and jit.version or _VERSION } })
  families[#families + 1] = build
  if context.labels.host or context.labels.site then
    local target = openmetrics.family { name = "target", type = "info", help = "labels of the configuration" }
    target:info(openmetrics.labels { { "host", context.labels.host or "" }, { "site", context.labels.site or "" } })
    families[#families + 1] = target
  end
end

local function interface_families(self, families)
  local requests = openmetrics.family { name = "perilune_http_requests", type = "counter",
    help = "requests that were answered, by status" }
  for _, status in ipairs(words.keys(self.requests)) do
    requests:add(openmetrics.labels { { "status", status } }, self.requests[status], self.began)
  end
  families[#families + 1] = requests
  add_one(families, { name = "perilune_http_connections", type = "gauge", help = "connections of clients" },
    self.context.connections())
  add_one(families, { name = "perilune_stream_lost_events", type = "counter",
    help = "events that listeners of the stream were too slow for" }, self.context.hub.lost, nil, self.began)
  add_one(families, { name = "perilune_scrape_late", type = "counter",
    help = "times that a policy did not tell its metrics in time" }, self.late, nil, self.began)
end

local function policy_families(self, families)
  local state = openmetrics.family { name = "perilune_policy_state", type = "stateset", help = "how a policy stands" }
  local up = openmetrics.family { name = "perilune_policy_up", type = "gauge", help = "1: it is attached and counts" }
  local restarts = openmetrics.family { name = "perilune_policy_restarts", type = "counter",
    help = "times that a policy had ended by itself and was started again" }
  local info = openmetrics.family { name = "perilune_policy", type = "info", help = "where a policy is from" }
  local attached = openmetrics.family { name = "perilune_attachment", type = "info",
    help = "where a policy is attached" }
  self.context.policies:each(function(one)
    local label = { "policy", one.name }
    local labels = openmetrics.labels { label }
    state:states(labels, STATES, one.state)
    up:add(labels, one.state == "running" and 1 or 0)
    restarts:add(labels, one.restarts, self.began)
    info:info(openmetrics.labels { label, { "origin", one.origin or "" } })
    for _, key in ipairs(words.keys(one.attachments or {})) do
      local at = one.attachments[key]
      attached:info(openmetrics.labels { label, { "iface", at.iface }, { "ifindex", at.ifindex or "" },
        { "hook", at.hook }, { "mode", at.mode }, { "netns", at.netns or "" } })
    end
  end)
  for _, family in ipairs { state, up, restarts, info, attached } do families[#families + 1] = family end
end

local function own_families(self)
  local families = {}
  for _, add in ipairs { who_families, process_families, interface_families, policy_families } do
    add(self, families)
  end
  for _, family in ipairs(self.context.exporters:families()) do families[#families + 1] = family end
  return families
end

-- ---------------------------------------------------------------------------------------------- the policies'

-- What a policy has answered, as families; the same answer is read once.
local function families_of(one, answer)
  if one.told and one.told.answer == answer then return one.told.families end
  local families = {}
  for _, plain in ipairs(json.decode(answer.text) or {}) do families[#families + 1] = openmetrics.take(plain) end
  one.told = { answer = answer, families = families }
  return families
end

local function finish(self)
  local parts = { own_families(self) }
  for _, name in ipairs(words.keys(self.told)) do parts[#parts + 1] = self.told[name] end
  local families = {}
  for _, part in ipairs(parts) do
    for _, family in ipairs(part) do families[#families + 1] = family end
  end
  self.current = { families = families, at = loop.now(), texts = {} }
  local waiting = self.waiting
  self.waiting, self.told = nil, nil
  for _, done in ipairs(waiting) do done(self.current) end
end

local function ask_all(self)
  self.told = {}
  local left = 1
  local function one_less()
    left = left - 1
    if left == 0 then finish(self) end
  end
  self.context.policies:each(function(one)
    if one.state ~= "running" then return end
    left = left + 1
    one:ask_shared("metrics", FRESH, PATIENCE, function(answer)
      if answer.ok then
        self.told[one.name] = families_of(one, answer)
      else
        self.late = self.late + 1
      end
      one_less()
    end)
  end)
  one_less()
end

local function text_of(self, current, which)
  local text = current.texts[which]
  if text then return text end
  local misfits
  text, misfits = openmetrics.write(current.families, which)
  current.texts[which] = text
  for _, name in ipairs(misfits) do
    if not self.misfits[name] then
      self.misfits[name] = true
      self.context.log:warn("two policies have metrics of one name and other meaning: one is left out",
        { metric = name })
    end
  end
  return text
end

--- The exposition as "openmetrics" or "text": done(text), perhaps at once.
function Scrape:collect(which, done)
  local function give(current) done(text_of(self, current, which)) end
  if self.current and loop.now() - self.current.at <= FRESH then return give(self.current) end
  if self.waiting then
    table.insert(self.waiting, give)
    return
  end
  self.waiting = { give }
  ask_all(self)
end

return scrape
