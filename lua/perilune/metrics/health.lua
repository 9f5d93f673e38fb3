-- SPDX-License-Identifier: Apache-2.0
--
-- A policy's own health as metrics: windows, what was counted and lost, levels, rules, sets, what probes hold,
-- what loading took and running costs. Made of the events of the run and of its windows; looking at it changes
-- nothing.
--
-- Pure: what only the process knows (memory, CPU time) comes from whoever asks.
local openmetrics = require "perilune.metrics.openmetrics"
local thrift = require "perilune.engine.thrift"
local words = require "perilune.base.words"

local health = {}
local Health = {}
Health.__index = Health

--- began: seconds since the epoch; counters begin at 0 then.
function health.new(began)
  return setmetatable({ began = began, sums = {}, firing = {}, rows = {} }, Health)
end

-- ---------------------------------------------------------------------------------------------- what is counted

-- Family → type, unit, help; counters first.
local COUNTERS = {
  { "windows", nil, "windows closed, by what ended them", "cut" },
  { "window", "seconds", "how long they were, all together" },
  { "packets", nil, "segments on the wire that the hooks saw", "direction" },
  { "skbs", nil, "packets as the hooks saw them, merged ones as one", "direction" },
  { "bytes", "bytes", "IP octets of all segments that the hooks saw", "direction" },
  { "loss", nil, "packets (ring_full: events) that are not where they belong, by where they were lost", "stage" },
  { "not_parsed", nil, "packets that were seen but not understood, by reason", "reason" },
  { "flawed", nil, "packets that were counted though something is wrong with them, by what", "reason" },
  { "window_end", "seconds", "what ending windows took: the swap, the wait for running programs, reading the maps",
    "step" },
  { "transitions", nil, "changes of level, by the level entered", "to" },
  { "rule_fired", nil, "times that a rule began to fire, for any of its keys", "rule" },
  { "actions", nil, "acts that were begun, by kind", "act" },
  { "errors", nil, "errors that the policy told of" },
  { "reloads", nil, "times that the policy was loaded anew while it ran" },
  { "delivered", nil, "times that a receiver was told", "receiver" },
}

local MOST_VALUES = 1000 -- of a label, for rules and receivers of policies that come and go

-- The sum `name` grows; value: of its label.
local function grow(self, name, by, value)
  local sums = self.sums[name] or { count = 0, of = {} }
  self.sums[name] = sums
  value = value or ""
  if not sums.of[value] then
    if sums.count >= MOST_VALUES then return end
    sums.count, sums.of[value] = sums.count + 1, 0
  end
  sums.of[value] = sums.of[value] + by
end

local function grow_all(self, name, values)
  for key, value in pairs(values or {}) do grow(self, name, value, key) end
end

local events = {}

function events.window(self, e)
  grow(self, "windows", 1, e.cut)
  grow(self, "window", e.seconds)
  for direction, counts in pairs(e.directions or {}) do
    grow(self, "packets", counts.packets, direction)
    grow(self, "skbs", counts.skbs, direction)
    grow(self, "bytes", counts.bytes, direction)
  end
  grow_all(self, "loss", e.loss)
  grow_all(self, "not_parsed", e.not_parsed_by)
  grow_all(self, "flawed", e.flawed_by)
  local cost = e.cost or {}
  grow(self, "window_end", cost.swap_seconds or 0, "swap")
  grow(self, "window_end", cost.grace_seconds or 0, "grace")
  grow(self, "window_end", cost.read_seconds or 0, "read")
end

function events.transition(self, e) grow(self, "transitions", 1, e.to) end

function events.rule(self, e)
  local keys = self.firing[e.rule] or {}
  self.firing[e.rule] = keys
  if e.state == "firing" then
    grow(self, "rule_fired", 1, e.rule)
    keys[e.key or ""] = true
  elseif e.state == "cleared" then
    keys[e.key or ""] = nil
  end
end

function events.action(self, e)
  if not e.undo then grow(self, "actions", 1, e.act) end
end

function events.reload(self) grow(self, "reloads", 1) end
function events.delivery(self, e) grow(self, "delivered", 1, e.receiver) end
events["error"] = function(self) grow(self, "errors", 1) end

--- Something has happened: an event, as sinks get it.
function Health:event(e)
  if events[e.event] then events[e.event](self, e) end
end

--- A window has closed, and these are its views: how many rows its probes had.
function Health:take(_, views)
  self.rows = {}
  for name, rows in pairs(views.rows) do self.rows[name] = rows:count() end
end

--- What loading took: { seconds, load_seconds, cached }.
function Health:loaded(info) self.load = info end

-- ---------------------------------------------------------------------------------------------- how it stands

local function gauge(name, unit, help)
  return { name = "perilune_" .. name, type = "gauge", unit = unit, help = help }
end

-- A family of this policy, with add(value, more labels) and the like.
local function writer(self, families, spec)
  local family = openmetrics.family(spec)
  families[#families + 1] = family
  return function(value, ...)
    if value ~= nil then family:add(openmetrics.labels { self.label, ... }, value, self.began) end
  end, family
end

local function write_counters(self, families)
  for _, one in ipairs(COUNTERS) do
    local name, unit, help, label = unpack(one, 1, 4)
    local add = writer(self, families, { name = "perilune_" .. name, type = "counter", unit = unit, help = help })
    local sums = self.sums[name]
    if not sums and not label then add(0) end
    for _, value in ipairs(words.keys(sums and sums.of or {})) do add(sums.of[value], label and { label, value }) end
  end
end

local function write_level(self, families, run)
  local _, family = writer(self, families, {
    name = "perilune_level", type = "stateset", help = "the level in force",
  })
  local names = {}
  for i, level in ipairs(run.decl.levels) do names[i] = level.name end
  family:states(openmetrics.labels { self.label }, names, run.level)
end

local function write_rules(self, families, run)
  local add = writer(self, families,
    gauge("rule_firing", nil, "keys for which a rule fires; of a rule without keys, 1"))
  for _, rule in ipairs(run.decl.rules) do
    local count = 0
    for _ in pairs(self.firing[rule.name] or {}) do count = count + 1 end
    add(count, { "rule", rule.name })
  end
end

local function write_sets(self, families, run)
  local members = writer(self, families, gauge("set_members", nil, "members of a set"))
  local most = writer(self, families, gauge("set_members_limit", nil, "members that a set has room for"))
  for _, set in ipairs(run.decl.sets) do
    members(#(run.sets[set.name] or {}), { "set", set.name })
    most(set.max, { "set", set.name })
  end
end

local function write_probes(self, families, run)
  local _, family = writer(self, families, { name = "perilune_probe", type = "info", help = "what a probe is" })
  local rows = writer(self, families, gauge("probe_rows", nil, "rows of a probe's map at the end of the last window"))
  local most = writer(self, families, gauge("probe_rows_limit", nil, "rows that a probe's map has room for"))
  local rate = writer(self, families, gauge("probe_sample_rate", nil, "one packet in so many is looked at"))
  for _, probe in ipairs(run.decl.probes) do
    local label = { "probe", probe.name }
    family:info(openmetrics.labels { self.label, label, { "template", probe.template },
      { "key", table.concat(probe.key or {}, ",") }, { "filter", probe.filter or "" } })
    if probe.manifest.rows then
      rows(self.rows[probe.name] or 0, label)
      most(probe.knobs.entries, label)
    end
    if run.spare then rate(thrift.rate(probe, run.spare), label) end
  end
end

local function write_series(self, families, run)
  local series = writer(self, families, gauge("metric_series", nil, "series that a probe's metrics have"))
  local most = writer(self, families, gauge("metric_series_limit", nil, "series that they may have"))
  for _, one in ipairs(run.series) do
    series(one.series, { "probe", one.probe })
    most(one.most, { "probe", one.probe })
  end
end

local function write_costs(self, families, run)
  local load = self.load or {}
  for _, one in ipairs {
    { load.seconds, "compile", "seconds", "what compiling took, or finding what was compiled before" },
    { load.load_seconds, "load", "seconds", "what loading and verifying took" },
    { run.packet_seconds, "packet_cost", "seconds",
      "of the programs for a packet that a hook sees, as the budget measures it" },
    { run.lua_bytes, "lua_memory", "bytes", "memory of the policy's Lua" },
    { run.resident_bytes, "policy_memory", "bytes", "resident memory of the policy's process" },
    { self.began, "policy_start_time", "seconds", "when the policy's process began, since the epoch" },
  } do
    writer(self, families, gauge(one[2], one[3], one[4]))(one[1])
  end
  local cpu = writer(self, families, { name = "perilune_policy_cpu", type = "counter", unit = "seconds",
    help = "CPU time of the policy's process; its programs' is the kernel's" })
  cpu(run.cpu_seconds)
end

--- All of it as families of openmetrics.lua. run: decl, level (its name), sets (name → members), spare (of the
--- current window), series (metrics:sizes()), and what is known of packet_seconds, lua_bytes, resident_bytes,
--- cpu_seconds.
function Health:families(run)
  local families = {}
  self.label = { "policy", run.decl.name }
  for _, write in ipairs {
    write_counters, write_level, write_rules, write_sets, write_probes, write_series, write_costs,
  } do write(self, families, run) end
  return families
end

return health
