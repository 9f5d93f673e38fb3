-- SPDX-License-Identifier: Apache-2.0
--
-- One monitor: code that somebody has injected, on one interface, and what it counts.
--
-- What is done to it is done in turn. An injection is a transaction: the new programs are compiled, loaded and verified
-- beside the old ones, then take their places on every link in one step; whatever fails before, the old ones go on.
local build = require "perilune.dynmon.build"
local configuration = require "perilune.dynmon.configuration"
local dialect = require "perilune.dynmon.dialect"
local ffi = require "ffi"
local logs = require "perilune.dynmon.logs"
local json = require "perilune.base.json"
local kernel = require "perilune.core.kernel"
local loop = require "perilune.core.loop"
local readings = require "perilune.dynmon.readings"
local steps = require "perilune.dynmon.steps"

local monitor = {}
local Monitor = {}
Monitor.__index = Monitor

local MOST_WAITING = 64
local GONE = 0 -- no interface has this index
local NO_PATHS = { ingress = false, egress = false }

-- How bad a line of pcn_log is, by its level there.
local SEVERITIES = { [0] = "debug", "debug", "info", "warn", "error", "error" }

--- options: name, kind ("TC", "XDP_SKB", "XDP_DRV"), loglevel (Dynmon's word), share, log.
function monitor.new(options)
  return setmetatable({
    name = options.name, kind = options.kind, loglevel = options.loglevel or "OFF", share = options.share,
    log = options.log, queue = steps.queue(MOST_WAITING), paths = NO_PATHS, set = { readings = {} },
    created = loop.wall(),
  }, Monitor)
end

--- Dynmon's word for a level → a number | nil.
function monitor.level(word) return dialect.LEVELS[word:lower()] end

-- ---------------------------------------------------------------------------------------------- programs

local function attach(self, await, side, one, interface)
  local hook, mode = build.hook(self.kind, side)
  await(function(done)
    return one.twin:attach({ hook = hook, mode = mode, ifindex = interface.index, program = "dynmon_" .. side }, done)
  end)
end

-- The new set takes the old one's places; what cannot be done is undone.
local function take_over(self, await, set)
  local old, done_sides = self.set, {}
  if not self.interface or self.interface.index == GONE then return end
  local ok, failure = pcall(function()
    for _, side in ipairs(configuration.PATHS) do
      local fresh, before = set[side], old[side]
      if fresh and fresh ~= before then
        if before then
          await(function(done) return fresh.twin:adopt(before.twin, done) end)
        else
          attach(self, await, side, fresh, self.interface)
        end
        done_sides[#done_sides + 1] = side
      end
    end
  end)
  if ok then return end
  for _, side in ipairs(done_sides) do
    if old[side] then pcall(await, function(done) return old[side].twin:adopt(set[side].twin, done) end) end
  end
  error(failure, 0)
end

local function close_other(set, than)
  for _, side in ipairs(configuration.PATHS) do
    if set[side] and set[side] ~= than[side] then set[side].twin:close() end
  end
end

-- The paths that are to be, of what is said of them; what of the old set goes on.
local function plan(self, said)
  local paths, kept = {}, {}
  for _, side in ipairs(configuration.PATHS) do
    if said[side] == nil then
      paths[side], kept[side] = self.paths[side], self.set[side]
    else
      paths[side] = said[side]
    end
  end
  for _, both in ipairs { self.paths, paths } do
    if steps.check(build.are_joined(both)) then kept = {} end
  end
  return paths, kept
end

--- said: { ingress = path | false | nil, egress = … } as configuration.paths has it.
--- done(true) | done(nil, message, code): then all is as it was.
function Monitor:inject(said, done)
  return self.queue:add(function(await)
    local paths, kept = plan(self, said)
    local set = build.set(await, paths, {
      name = self.name, kind = self.kind, level = monitor.level(self.loglevel), share = self.share,
    }, kept)
    local ok, failure = pcall(take_over, self, await, set)
    if not ok then
      close_other(set, self.set)
      error(failure, 0)
    end
    local old, earlier = self.set, self.readings
    self.set, self.paths = set, paths
    self.readings = readings.new(set, function(map, count)
      self.log:warn("records of a map that found no room", { monitor = self.name, map = map, records = count })
    end)
    for side in pairs(kept) do
      if earlier then self.readings:keep(earlier, side) end
    end
    close_other(old, set)
    self.injected = loop.wall()
    self:set_clock()
    return true
  end, done)
end

-- Every path, or none.
local function attach_all(self, await, interface)
  local begun = {}
  local ok, failure = pcall(function()
    for _, side in ipairs(configuration.PATHS) do
      if self.set[side] then
        attach(self, await, side, self.set[side], interface)
        begun[#begun + 1] = self.set[side]
      end
    end
  end)
  if not ok then
    for _, one in ipairs(begun) do await(function(done) return one.twin:detach(done) end) end
    error(failure, 0)
  end
  self.interface = interface
end

--- interface: { index, name }
function Monitor:attach(interface, done)
  return self.queue:add(function(await)
    if self.interface then
      steps.raise(("%s is attached to %s already (detach it first)"):format(self.name, self.interface.name), "EBUSY")
    end
    attach_all(self, await, interface)
    return true
  end, done)
end

local function detach(self, await)
  for _, side in ipairs(configuration.PATHS) do
    local one = self.set[side]
    if one then await(function(done) return one.twin:detach(done) end) end
  end
  self.interface = nil
end

--- name: of the interface it is attached to.
function Monitor:detach(name, done)
  return self.queue:add(function(await)
    if not self.interface or self.interface.name ~= name then
      steps.raise(("%s is not attached to %s"):format(self.name, name), "EINVAL")
    end
    detach(self, await)
    return true
  end, done)
end

--- Detaches and unloads; nothing may be asked of it afterwards.
function Monitor:close(done)
  return self.queue:add(function(await)
    local ok, failure = pcall(detach, self, await)
    close_other(self.set, {})
    self.set, self.paths, self.readings = { readings = {} }, NO_PATHS, nil
    if not ok then error(failure, 0) end
    return true
  end, done)
end

-- Interfaces come and go: one that is there again, under its name, is attached to again.
local function follow(self)
  local wanted = self.interface
  local there = kernel.interface(wanted.name)
  if there and there.index == wanted.index then return end
  if not there then
    if wanted.index ~= GONE then
      self.log:warn("a monitor's interface has gone", { monitor = self.name, iface = wanted.name })
    end
    self.interface = { index = GONE, name = wanted.name }
    return
  end
  self.queue:add(function(await)
    pcall(detach, self, await)
    self.interface = { index = GONE, name = wanted.name } -- should it fail, it is tried again
    attach_all(self, await, { index = there.index, name = wanted.name })
    return true
  end, function(ok, message)
    local fields = { monitor = self.name, iface = wanted.name, error = message }
    if ok then return self.log:info("a monitor's interface is there again", fields) end
    self.log:warn("a monitor cannot be attached again", fields)
  end)
end

-- ---------------------------------------------------------------------------------------------- what it counts

--- The readings of a path ("ingress", "egress"), or the one of this name; nil when there is none.
function Monitor:reading(side, name)
  for _, reading in ipairs(self.set.readings[side] or {}) do
    if reading.metric.name == name then return reading end
  end
end

--- The value of each reading, as JSON texts: done({ { name, side, text, at }, … }) | done(nil, message, code).
--- choose() → the readings; called when it is their turn, since an injection may come before.
function Monitor:read(choose, done)
  return self.queue:add(function(await)
    local wanted = choose()
    if #wanted == 0 then return {} end
    local texts, at = self.readings:values(await, wanted, loop.wall)
    local out = {}
    for i, reading in ipairs(wanted) do
      out[i] = { name = reading.metric.name, side = reading.side, text = texts[i], at = at }
    end
    return out
  end, done)
end

--- use(reading, batch): for each metric that is exported, what it has counted; nothing is changed. done(true)
function Monitor:look(use, done)
  return self.queue:add(function(await)
    for _, side in ipairs(configuration.PATHS) do
      for _, reading in ipairs(self.set.readings[side] or {}) do
        local batch = reading.metric.meta and self.readings:look(await, reading)
        if batch then
          use(reading, batch)
          batch:close()
        end
      end
    end
    return true
  end, done)
end

-- ---------------------------------------------------------------------------------------------- clock, logs

-- Tells programs that ask for the time how the boot clock stands to it.
function Monitor:set_clock()
  for _, side in ipairs(configuration.PATHS) do
    local one = self.set[side]
    if one and one.clock then
      local offset = (ffi.cast("int64_t", loop.wall()) - ffi.cast("int64_t", loop.boot())) * 1000
      one.twin:put("dynmon_clock", ("\0"):rep(4), ffi.string(ffi.new("int64_t[1]", offset), 8))
    end
  end
end

local function tell(self, side, one, line)
  local format = one.logs[line.number]
  if not format then return end
  local severity = SEVERITIES[line.level] or "info"
  local text = logs.line(format, line.args):gsub("%s+$", "")
  self.log[severity](self.log, text, { monitor = self.name, path = side })
end

local function take_logs(self, await, side, one)
  local batch = await(function(done) return one.twin:read("dynmon_log", { clear = true }, done) end)
  local lines = json.decode(batch:json() or "[]") or {}
  batch:close()
  for _, line in ipairs(lines) do tell(self, side, one, line) end
  local lost = await(function(done) return one.twin:read("dynmon_log_lost", { clear = true }, done) end)
  local count = (json.decode(lost:json() or "[]") or {})[1]
  lost:close()
  if count and count.value > 0 then
    self.log:warn("lines of a monitor's log that are lost", { monitor = self.name, path = side, lines = count.value })
  end
end

--- Now and then: the clock is set, and what the programs have to say is told.
function Monitor:tick()
  if not self.queue:is_idle() then return end
  self:set_clock()
  if self.interface then follow(self) end
  local talking = false
  for _, side in ipairs(configuration.PATHS) do
    talking = talking or (self.set[side] ~= nil and #self.set[side].logs > 0)
  end
  if not talking then return end
  self.queue:add(function(await)
    for _, side in ipairs(configuration.PATHS) do
      local one = self.set[side]
      if one and #one.logs > 0 then take_logs(self, await, side, one) end
    end
    return true
  end, function(ok, message)
    if not ok then self.log:warn("a monitor's log cannot be read", { monitor = self.name, error = message }) end
  end)
end

return monitor
