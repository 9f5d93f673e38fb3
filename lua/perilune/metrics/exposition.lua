-- SPDX-License-Identifier: Apache-2.0
--
-- What a running policy tells scrapers: its metrics (metrics.lua) and its health (health.lua), as JSON for the
-- channel. It is made when it is asked for and something has changed since, so that however often it is read, a
-- window's end does not wait for it.
local cjson = require "cjson"
local health = require "perilune.metrics.health"
local loop = require "perilune.core.loop"
local metrics = require "perilune.metrics"
local resident = require "perilune.base.resident"

local exposition = {}
local Exposition = {}
Exposition.__index = Exposition

local FRESH = 0.25 -- seconds: what changes without an event is no older than that

--- driver: a live driver, in whatever state.
function exposition.new(driver)
  return setmetatable({ driver = driver, health = health.new(loop.wall() / 1e6), metrics = metrics.new(driver.decl) },
    Exposition)
end

function Exposition:event(e)
  self.text = nil
  self.health:event(e)
end

function Exposition:loaded(info) self.health:loaded(info) end

--- A window has closed, and its views are still there.
function Exposition:take(closed, views)
  if self.driver.decl ~= self.metrics.decl then self.metrics:become(self.driver.decl) end
  self.metrics:take(closed, views)
  self.health:take(closed, views)
end

-- Runs of the programs that the budget has seen last: seconds of each.
local function packet_seconds(meter)
  local span = meter and meter.span
  return span and span.runs > 0 and span.ns / span.runs / 1e9 or nil
end

local function run_of(self)
  local driver, engine = self.driver, self.driver.engine
  return {
    decl = driver.decl, level = engine and engine:level().name, sets = engine and engine.decide:sets() or {},
    spare = engine and engine.current and engine.current.spare, series = self.metrics:sizes(),
    packet_seconds = packet_seconds(driver.meter), lua_bytes = collectgarbage "count" * 1024,
    resident_bytes = resident(), cpu_seconds = os.clock(),
  }
end

--- All families, as a JSON array of what openmetrics.take() takes.
function Exposition:json()
  local now = loop.now()
  if self.text and now - self.made < FRESH then return self.text end
  local out = {}
  for _, list in ipairs { self.health:families(run_of(self)), self.metrics:families() } do
    for _, family in ipairs(list) do
      if #family.lines > 0 then out[#out + 1] = cjson.encode(family:plain()) end
    end
  end
  self.text, self.made = "[" .. table.concat(out, ",") .. "]", now
  return self.text
end

return exposition
