-- SPDX-License-Identifier: Apache-2.0
--
-- One policy, in a process of its own (channel.lua): started, asked, told, ended, and started again when it ends by
-- itself. What it tells is kept as far as the service shows it without asking: level, attachments, the last windows,
-- transitions and errors.
--
-- States: starting → running → stopping → ended, and failed: it could not be started, or has ended by itself and is
-- started again later.
local channel = require "perilune.run.channel"
local child = require "perilune.core.child"
local json = require "perilune.base.json"
local loop = require "perilune.core.loop"
local ring = require "perilune.serve.ring"
local words = require "perilune.base.words"

local worker = {}
local Worker = {}
Worker.__index = Worker

local WINDOWS, TRANSITIONS, ERRORS = 64, 256, 64
local STDERR = 64 * 1024 -- bytes kept of what it says
local FIRST_PAUSE, LONGEST_PAUSE = 1, 60 -- seconds before it is started again, doubled each time
local STEADY = 60 -- seconds after which it counts as well
local STOP_SECONDS = 10 -- for its end, before it is killed

--- options: name, file, set (option → text), trusted, pin, upgrade (as `perilune run` has these),
--- labels = { host =, site = }, log,
--- on_event(worker, name, text, value): value is nil for records.
function worker.new(options)
  return setmetatable({
    name = options.name, file = options.file, set = options.set or {}, trusted = options.trusted,
    pin = options.pin, upgrade = options.upgrade,
    labels = options.labels or {}, log = options.log, on_event = options.on_event, state = "ended",
    asks = {}, shared = {}, next_id = 0, restarts = 0, pause = FIRST_PAUSE, wants_records = false,
    windows = ring.new(WINDOWS), transitions = ring.new(TRANSITIONS), errors = ring.new(ERRORS),
  }, Worker)
end

function Worker:argv()
  local argv = { self.program, "run", "--parent", tostring(loop.pid()), "--channel" }
  for _, flag in ipairs { "trusted", "pin", "upgrade" } do
    if self[flag] then argv[#argv + 1] = "--" .. flag end
  end
  for _, label in ipairs { "host", "site" } do
    if self.labels[label] then argv[#argv + 1] = ("--%s=%s"):format(label, self.labels[label]) end
  end
  for _, name in ipairs(words.keys(self.set)) do argv[#argv + 1] = ("--set=%s=%s"):format(name, self.set[name]) end
  argv[#argv + 1] = ("%s=%s"):format(self.name, self.file)
  return argv
end

-- ---------------------------------------------------------------------------------------------- what it tells

local events = {}

function events.start(self, event)
  self.state, self.level, self.levels = "running", event.levels[1], event.levels
  self.started, self.since = event.time, loop.now()
  self.log:info("policy attached", { policy = self.name, level = self.level })
  self:started_as(true)
end

function events.attach(self, event)
  self.attachments[event.iface .. " " .. event.hook .. " " .. tostring(event.ifindex)] = {
    iface = event.iface, hook = event.hook, mode = event.mode, ifindex = event.ifindex, netns = event.netns,
  }
end

function events.detach(self, event)
  self.attachments[event.iface .. " " .. event.hook .. " " .. tostring(event.ifindex)] = nil
end

function events.window(self, event, text)
  self.windows:add { seq = event.seq, text = text }
end

function events.reload(self, event)
  self.level, self.levels = event.level, event.levels
  self.log:info("policy loaded anew", { policy = self.name, level = self.level })
end

function events.transition(self, event, text)
  self.level = event.to
  self.transitions:add { seq = event.seq, text = text }
end

function events.summary(self, event) self.left = event.left end

events["error"] = function(self, event, text)
  self.errors:add { text = text }
  self.log:warn(event.message, { policy = self.name, rule = event.rule, hint = event.hint })
end

function Worker:take_event(name, text)
  local value
  if name ~= "records" then
    value = json.decode(text)
    if value and events[name] then events[name](self, value, text) end
  end
  if self.held then
    self.held[#self.held + 1] = { name, text, value }
  else
    self.on_event(self, name, text, value)
  end
end

--- Its events are kept back until release(): there is another of its name, which has not told all yet.
function Worker:hold() self.held = {} end

function Worker:release()
  local held = self.held or {}
  self.held = nil
  for _, event in ipairs(held) do self.on_event(self, unpack(event, 1, 3)) end
end

function Worker:take(line)
  local kind, name, text = channel.take(line)
  if kind == "event" then
    self:take_event(name, text)
  elseif kind == "ok" or kind == "no" then
    local ask = self.asks[name]
    self.asks[name] = nil
    if ask then ask.done(kind == "ok" and { ok = true, text = text } or json.decode(text) or {}) end
  elseif kind == "mark" then
    self:tell("told", { mark = name })
  elseif kind == "loaded" then
    self.loaded = json.decode(text)
  else
    self.log:warn("a policy's process said something else than it may", { policy = self.name, line = line:sub(1, 200) })
  end
end

function Worker:hear(fd, bytes)
  if fd == 1 then
    if not self.lines(bytes) then self.child:kill() end
    return
  end
  self.stderr = (self.stderr .. bytes):sub(-STDERR)
  if self.state == "starting" then return end -- whoever waits for the start is told
  for line in bytes:gmatch "[^\n]+" do self.log:warn(line:gsub("^perilune: ", ""), { policy = self.name }) end
end

-- ---------------------------------------------------------------------------------------------- begin and end

--- Starts it; done(true) when it is attached, else done(nil, what it said, exit status, errno name or nil).
function Worker:start(done)
  self.done = done
  self.attachments, self.stderr, self.loaded, self.level, self.left = {}, "", nil, nil, nil
  self.lines = channel.lines(function(line) self:take(line) end, channel.LONGEST.up)
  self.state = "starting"
  local program, message, code = child.program()
  self.program = program
  local started
  if program then
    started, message, code = child.start({
      argv = self:argv(), input = true, output = function(fd, bytes) self:hear(fd, bytes) end,
    }, function(status, signal) self:ended(status, signal) end)
  end
  if not started then
    local waited = self.done ~= nil
    self.state, self.failure = "failed", message
    self.log:error("policy not started", { policy = self.name, error = message })
    self:started_as(nil, message, code)
    if not waited then self:start_later() end -- else whoever waited decides
    return
  end
  self.child = started
  if self.wants_records then self:tell("want", { records = true }) end
end

function Worker:started_as(...)
  local done = self.done
  self.done = nil
  if done then done(...) end
end

local function how(status, signal)
  return signal and "was ended by " .. signal or ("ended with exit status %d"):format(status)
end

-- "perilune: POLICY.lua:3: what is wrong" without the first word, which is for a terminal.
local function said(text)
  return (text:gsub("^perilune: ", ""):gsub("\nperilune: ", "\n"):gsub("%s+$", ""))
end

function Worker:forget_asks(message)
  local asks = self.asks
  self.asks, self.shared = {}, {}
  for _, ask in pairs(asks) do ask.done { message = message, code = "ECHILD" } end
end

function Worker:ended(status, signal)
  local before, text = self.state, said(self.stderr)
  self.child, self.attachments = nil, {}
  self:forget_asks "the policy has ended"
  if self.left then self.log:info("policy left to another process, pinned", { policy = self.name }) end
  if before == "stopping" or self.left then
    self.state = "ended"
    local stopped = self.stopped or {}
    self.stopped = {}
    for _, done in ipairs(stopped) do done() end
    return
  end
  self.state, self.failure = "failed", text ~= "" and text or "the policy's process " .. how(status, signal)
  self.status = status
  if before == "starting" then
    self.log:error("policy not started", { policy = self.name, error = self.failure })
    local waited = self.done ~= nil
    self:started_as(nil, self.failure, status)
    if waited then return end -- whoever waited decides
  else
    self.log:error("policy ended by itself", { policy = self.name, how = how(status, signal), error = text })
  end
  self:start_later()
end

--- Tries again after a while, longer each time.
function Worker:start_later()
  if self.since and loop.now() - self.since > STEADY then self.pause = FIRST_PAUSE end
  self.since = nil
  self.again = loop.now() + self.pause
  self.log:info("policy is started again later", { policy = self.name, seconds = self.pause })
  self.pause = math.min(self.pause * 2, LONGEST_PAUSE)
end

--- Ends its process; the policy goes on where it is pinned. done() when it has ended.
function Worker:leave(done)
  if not self.pin or self.state ~= "running" then return self:stop(done) end
  self.stopped = self.stopped or {}
  table.insert(self.stopped, done)
  self.child:signal "SIGUSR2"
end

--- Ends it; done() when it has ended.
function Worker:stop(done)
  self.again = nil
  if not self.child then
    self.state = "ended"
    return done()
  end
  self.stopped = self.stopped or {}
  table.insert(self.stopped, done)
  if self.state == "stopping" then return end
  self.state = "stopping"
  self.kill_at = loop.now() + STOP_SECONDS
  self:started_as(nil, "the policy was stopped")
  self:tell("stop")
end

-- ---------------------------------------------------------------------------------------------- what it is asked

--- Says something that has no answer.
function Worker:tell(verb, arguments)
  if self.child then self.child:write(channel.command(nil, verb, arguments)) end
end

--- Asks; done(answer) once, within so many seconds: { ok = true, text = JSON } or { message =, code = }.
function Worker:ask(verb, arguments, seconds, done)
  if not self.child then return done { message = "the policy does not run", code = "ECHILD" } end
  self.next_id = self.next_id + 1
  local id = self.next_id
  self.asks[id] = { done = done, deadline = loop.now() + seconds }
  local ok, message, code = self.child:write(channel.command(id, verb, arguments))
  if ok then return end
  self.asks[id] = nil
  done { message = message, code = code }
end

--- The same for what many may ask at a time: an answer that is no older than `age` seconds is given again, and while
--- one is awaited it is not asked for twice. So that whatever clients do, the policy has few questions to answer.
--- arguments, if there are any: of the command; about: what they are about, of which there are few.
function Worker:ask_shared(verb, age, seconds, done, arguments, about)
  local key = about and verb .. " " .. about or verb
  local known = self.shared[key]
  if known and known.answer and loop.now() - known.at <= age then return done(known.answer) end
  if known and known.waiting then
    table.insert(known.waiting, done)
    return
  end
  known = { waiting = { done } }
  self.shared[key] = known
  self:ask(verb, arguments, seconds, function(answer)
    local waiting = known.waiting
    known.waiting, known.answer, known.at = nil, answer, loop.now()
    for _, each in ipairs(waiting) do each(answer) end
  end)
end

--- Whether somebody wants the events of its records.
function Worker:want_records(wanted)
  if wanted == self.wants_records then return end
  self.wants_records = wanted
  self:tell("want", { records = wanted })
end

--- To be called a few times a second: what has waited too long is over.
function Worker:tick(now)
  local late = {}
  for id, ask in pairs(self.asks) do
    if ask.deadline <= now then late[#late + 1] = id end
  end
  for _, id in ipairs(late) do
    local ask = self.asks[id]
    self.asks[id] = nil
    if ask then ask.done { message = "the policy did not answer in time", code = "ETIME" } end
  end
  if self.state == "stopping" and self.kill_at <= now and self.child then
    self.log:warn("policy does not end, and is killed", { policy = self.name })
    self.kill_at = math.huge
    self.child:kill()
  end
  if self.again and self.again <= now then
    self.again = nil
    self.restarts = self.restarts + 1
    self:start()
  end
end

return worker
