-- SPDX-License-Identifier: Apache-2.0
--
-- The policy's end of the channel (channel.lua): a sink that tells the daemon what happens, and a reader of what the
-- daemon asks. It decides nothing: what is asked for is the driver's and the engine's to do.
local channel = require "perilune.run.channel"
local event = require "perilune.event"
local exposition = require "perilune.metrics.exposition"
local json = require "perilune.base.json"
local loop = require "perilune.core.loop"
local output = require "perilune.base.output"
local show = require "perilune.run.remote_show"
local term = require "perilune.core.term"

local remote = {}
local Remote = {}
Remote.__index = Remote

--- labels: { host =, site = } for every event.
function remote.new(labels)
  return setmetatable({
    out = output.new(1, { soon = true }), labels = labels, wanted = false, asked = {}, wants_records = false,
  }, Remote)
end

-- ---------------------------------------------------------------------------------------------- the sink

-- Whether anybody is there for records; without, none are made.
local function consider(self)
  self.wants_records = self.wanted or #self.asked > 0
end

-- Those who get this window; those who are after another one wait on.
local function take_askers(self)
  local now, later = {}, {}
  for _, ask in ipairs(self.asked) do
    table.insert(ask.skip > 0 and later or now, ask)
    ask.skip = ask.skip - 1
  end
  self.asked = later
  return #now > 0 and now or nil
end

function Remote:event(e)
  e.host, e.site = self.labels.host, self.labels.site
  local text = event.encode(e)
  self.exposition:event(e)
  if e.event == "window" then
    self.askers = take_askers(self)
    self.window, self.records = text, {}
  elseif e.event == "records" then
    if self.askers then self.records[#self.records + 1] = json.raw(text) end
    if not self.wanted then return true end
  end
  return self.out:write(channel.event(e.event, text))
end

--- The window is closed and told of: whoever has asked for one gets it.
function Remote:keep(closed, views, done)
  self.exposition:take(closed, views)
  done(views)
  if self.askers then
    local value = { window = json.raw(self.window), records = json.array(self.records) }
    for _, ask in ipairs(self.askers) do self:write(channel.answer(ask.id, value)) end
    self.askers = nil
    consider(self)
  end
  self.window, self.records = nil, nil
end

--- Calls fn() once the daemon has handed on all that it was told until now.
function Remote:mark(fn)
  self.marks, self.marked = (self.marks or 0) + 1, fn
  self:write(channel.mark(self.marks))
end

function Remote.status() return true end

function Remote:loaded(info)
  self.exposition:loaded(info)
  self:write(channel.loaded(info))
end

function Remote:close() return self.out:close() end

-- A daemon that cannot be told anything is gone, and then so is this process (child.follow).
function Remote:write(text) self.out:write(text) end

-- ---------------------------------------------------------------------------------------------- commands

local commands = {}

-- Each returns a value to answer with; nil, message, code; or nothing when the answer comes later.

function commands.show(self)
  return show.state(self.driver)
end

function commands.members(self, request)
  local members = show.members(self.driver.engine, request.set)
  if not members then return nil, ("there is no set %s"):format(tostring(request.set)), "ENOENT" end
  return { members = members }
end

function commands.level(self, request)
  local engine = self.driver.engine
  local seconds = request.seconds
  if seconds ~= nil and (type(seconds) ~= "number" or seconds <= 0) then
    return nil, "seconds: a number above 0", "EINVAL"
  end
  local ok, message = engine:pin(request.level, loop.now(), seconds)
  if not ok then return nil, message, "ENOENT" end
  return { level = request.level, seconds = seconds }
end

function commands.unpin(self)
  self.driver.engine:unpin()
  return {}
end

-- skip: so many windows that close before are not the one.
local function ask(self, id, skip)
  self.asked[#self.asked + 1] = { id = id, skip = skip }
  consider(self)
end

function commands.records(self, request)
  ask(self, request.id, 0)
end

function commands.drain(self, request)
  ask(self, request.id, self.driver.draining and 1 or 0)
  self.driver:cut_now()
end

function commands.metrics(self)
  return json.raw(self.exposition:json())
end

function commands.want(self, request)
  self.wanted = request.records == true
  consider(self)
  return {}
end

function commands.told(self, request)
  if self.marked and request.mark == self.marks then
    local fn = self.marked
    self.marked = nil
    fn()
  end
end

function commands.stop(self)
  self.driver:stop()
  return {}
end

-- The values of options, as text; nil when they are none.
local function values_of(set)
  local values = {}
  for name, value in pairs(type(set) == "table" and set or {}) do
    if type(name) ~= "string" or type(value) ~= "string" then return nil end
    values[name] = value
  end
  return values
end

function commands.reload(self, request)
  local set = values_of(request.set)
  if type(request.file) ~= "string" or not set then return nil, "file: a path; set: texts by name", "EINVAL" end
  local parsed = { ("%s=%s"):format(self.driver.decl.name, request.file), set = set,
    trusted = request.trusted == true or nil }
  self.loader:load(parsed, function(ok, message, code)
    if ok then return self:write(channel.answer(request.id, {})) end
    self:write(channel.refusal(request.id, message, code))
  end)
end

-- What can be asked before windows are counted.
local EARLY = { show = true, want = true, stop = true, metrics = true, told = true }

function Remote:command(line)
  local request, wrong = json.decode(line)
  local id = type(request) == "table" and request.id
  local function refuse(message, code)
    if id then self:write(channel.refusal(id, message, code)) end
  end
  if type(request) ~= "table" then return refuse(wrong or "no command", "EINVAL") end
  local verb = commands[request["do"]]
  if not verb then return refuse(("there is no command %s"):format(tostring(request["do"])), "ENOSYS") end
  if not EARLY[request["do"]] and not (self.driver.engine and self.driver.engine.current) then
    return refuse("the policy is not attached yet", "EAGAIN")
  end
  local value, message, code = verb(self, request)
  if value then
    if id then self:write(channel.answer(id, value)) end
  elseif message then
    refuse(message, code)
  end
end

--- Takes commands for this driver from now on. loader: anew.lua's.
function Remote:serve(driver, loader)
  self.driver, self.loader, self.exposition = driver, loader, exposition.new(driver)
  local take = channel.lines(function(line) self:command(line) end, channel.LONGEST.down)
  self.watch = loop.watch(0, function()
    local bytes, _, code = term.read(0)
    if not bytes and code == "EAGAIN" then return end
    if not bytes or bytes == "" or not take(bytes) then
      self.watch:close()
      driver:abandon()
    end
  end)
end

function Remote:release()
  if self.watch then self.watch:close() end
end

return remote
