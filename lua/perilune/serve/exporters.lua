-- SPDX-License-Identifier: Apache-2.0
--
-- Events as JSON lines to files, standard output, Unix sockets and syslog (export_form.lua). Each has a queue
-- of its own (export_queue.lua): who takes slowly, or is away, costs nobody else anything, and the policies, in
-- their own processes, never wait.
--
--   hub event ─▶ publish() ─▶ queue ─▶ place
--                               └─ full: lost, counted, and said once until it has caught up
--
-- A place that is away is looked for again, less and less often, up to a minute.
local loop = require "perilune.core.loop"
local openmetrics = require "perilune.metrics.openmetrics"
local places = require "perilune.serve.export_places"
local queue = require "perilune.serve.export_queue"
local sameness = require "perilune.policy.sameness"
local words = require "perilune.base.words"

local exporters = {}
local Exporters, Exporter = {}, {}
Exporters.__index, Exporter.__index = Exporters, Exporter

local FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60 -- seconds before a place is tried again, doubled each time

local function new_exporter(spec, log)
  return setmetatable({
    spec = spec, log = log, queue = queue.new(spec.queue), pause = FIRST_PAUSE, again = 0, said_lost = 0,
    line = places.line(spec),
  }, Exporter)
end

function Exporter:wants(policy, name)
  local spec = self.spec
  return spec.events[name] and (not spec.policies or spec.policies[policy] or false)
end

function Exporter:unwatch()
  if self.watch then self.watch:close() end
  self.watch = nil
end

-- The place has gone, or does not take anything any more.
function Exporter:away(message, code)
  self:unwatch()
  if self.place then self.place.close() end
  self.place = nil
  self.again = loop.now() + self.pause
  self.pause = math.min(self.pause * 2, LONGEST_PAUSE)
  if self.is_away then return end
  self.is_away = true
  self.log:warn("an export's place takes nothing: what does not fit in its queue is lost",
    { export = self.spec.name, error = message, code = code })
end

function Exporter:open()
  if self.place or loop.now() < self.again then return self.place ~= nil end
  local place, message, code = places.open(self.spec)
  if not place then
    self:away(message, code)
    return false
  end
  self.place = place
  return true
end

-- What is lost is said when it begins, and how much when it is over.
function Exporter:tell_lost()
  local q = self.queue
  if q.lost > self.said_lost and not self.losing then
    self.losing = true
    self.log:warn("an export loses events", { export = self.spec.name, lost = q.lost })
  elseif self.losing and q:waiting() == 0 then
    self.losing = false
    self.log:warn("an export loses no more events", { export = self.spec.name, lost = q.lost })
  end
  self.said_lost = q.lost
end

function Exporter:flush()
  if self.queue:waiting() == 0 or not self:open() then return end
  local done, message, code = self.queue:flush(self.place.send)
  if done == nil then return self:away(message, code) end
  if self.is_away then
    self.is_away = false
    self.log:info("an export's place takes events again", { export = self.spec.name })
  end
  self.pause = FIRST_PAUSE
  if done then
    self:unwatch()
  elseif not self.watch and self.place.fd then
    self.watch = loop.watch(self.place.fd, function() self:flush() end, true)
  end
end

function Exporter:put(text)
  self.queue:put(self.line(text))
  if not self.watch then self:flush() end
  self:tell_lost()
end

function Exporter:tick()
  self:flush()
  self:tell_lost()
end

function Exporter:close()
  self:flush()
  self.queue:give_up()
  self:tell_lost()
  self:unwatch()
  if self.place then self.place.close() end
  self.place = nil
end

-- ---------------------------------------------------------------------------------------------- all of them

--- specs: of export_form.list.
function exporters.new(specs, log)
  local self = setmetatable({ by_name = {}, log = log, began = loop.wall() / 1e6 }, Exporters)
  self:become(specs)
  return self
end

--- Others from now on; those that are the same go on.
function Exporters:become(specs)
  local before = self.by_name
  self.by_name = {}
  for _, spec in ipairs(specs) do
    local known = before[spec.name]
    if known and sameness.equal(known.spec, spec) then
      self.by_name[spec.name], before[spec.name] = known, nil
    end
  end
  for _, gone in pairs(before) do gone:close() end
  for _, spec in ipairs(specs) do
    self.by_name[spec.name] = self.by_name[spec.name] or new_exporter(spec, self.log)
  end
end

--- An event of a policy, as its JSON text.
function Exporters:publish(policy, name, text)
  for _, one in pairs(self.by_name) do
    if one:wants(policy, name) then one:put(text) end
  end
end

function Exporters:wants_records(policy)
  for _, one in pairs(self.by_name) do
    if one:wants(policy, "records") then return true end
  end
  return false
end

function Exporters:tick()
  for _, one in pairs(self.by_name) do one:tick() end
end

function Exporters:close()
  for _, one in pairs(self.by_name) do one:close() end
  self.by_name = {}
end

--- Families of openmetrics.lua: what went, what did not, what waits.
function Exporters:families()
  local sent = openmetrics.family { name = "perilune_export_events", type = "counter",
    help = "events that an export has sent" }
  local lost = openmetrics.family { name = "perilune_export_lost", type = "counter",
    help = "events that an export has lost" }
  local waiting = openmetrics.family { name = "perilune_export_waiting", unit = "bytes", type = "gauge",
    help = "bytes that wait for an export's place" }
  for _, name in ipairs(words.keys(self.by_name)) do
    local q, labels = self.by_name[name].queue, openmetrics.labels { { "export", name } }
    sent:add(labels, q.sent, self.began)
    lost:add(labels, q.lost, self.began)
    waiting:add(labels, q.bytes)
  end
  return { sent, lost, waiting }
end

return exporters
