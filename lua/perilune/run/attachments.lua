-- SPDX-License-Identifier: Apache-2.0
-- What a policy is attached to: interfaces that come, are renamed and go.
--
--   start: the ones that must be there │ begin: watch, list │ change → job → attach, let go │ … │ stop: detach
--
-- Everything that may wait is a job on a worker, one after the other in the order of the kernel's messages, beside
-- the windows. An interface is its index and is attached to only while that index has the name that was matched; an
-- index that comes again is another interface. What the kernel tells may be late: an interface that has gone is no
-- failure, its end will be told too. When messages are lost, a list of all takes their place, and what was attached is
-- looked at again.
local change = require "perilune.run.attachments_change"
local interfaces = require "perilune.base.interfaces"
local links = require "perilune.core.links"
local loop = require "perilune.core.loop"

local attachments = {}

-- Most interfaces at once; each takes a descriptor a hook.
local MOST = 4096
-- What may be better in a moment.
local SHORT = { EMFILE = true, ENFILE = true, ENOMEM = true, ENOBUFS = true }
-- Seconds between looks at what the kernel sends no message about.
local AGAIN = 1

local Attachments = {}
Attachments.__index = Attachments

--- `options`: probe, roots (list of { hook, program }), attach (the declaration's), emit = function(event): called for
--- attach, detach and error events once begin() was; listed: a job for when all there is was attached to, or nil.
function attachments.new(options)
  local self = setmetatable({
    probe = options.probe, roots = options.roots, attach = options.attach, emit = options.emit,
    listed = options.listed,
    matches = interfaces.matcher(options.attach.iface),
    held = {}, -- index → entry: interfaces that match, attached or not
    count = 0, order = 0, jobs = {}, first = 1, last = 0,
  }, Attachments)
  self.timer = loop.timer(function() self:look() end)
  return self
end

-- Jobs: function(done), one at a time.
function Attachments:work()
  if self.working then return end
  self.working = true
  while not self.busy and self.first <= self.last do
    local job = self.jobs[self.first]
    self.jobs[self.first] = nil
    self.first = self.first + 1
    self.busy = true
    job(function()
      self.busy = false
      self:work()
    end)
  end
  self.working = false
end

function Attachments:enqueue(job)
  self.last = self.last + 1
  self.jobs[self.last] = job
  self:work()
end

function Attachments:tell(event)
  if self.begun and not self.stopped then self.emit(event) end
end

function Attachments:problem(message, hint)
  self:tell { event = "error", message = message, hint = hint }
end

function Attachments:tell_of(entry, event, why)
  if event == "attach" then links.remember(entry.index, entry.name) end
  for _, attachment in ipairs(entry.attached) do
    self:tell {
      event = event, iface = entry.name, hook = attachment.hook, mode = attachment.mode, ifindex = entry.index,
      netns = self.attach.netns, why = why,
    }
  end
end

function Attachments:hold(link)
  local entry = { index = link.index, now = link.name, state = link.state, attached = {} }
  self.held[link.index] = entry
  self.count = self.count + 1
  return entry
end

function Attachments:forget(entry)
  if self.held[entry.index] ~= entry then return end
  self.held[entry.index] = nil
  self.count = self.count - 1
end

-- Takes down what is attached to an interface, which may have gone.
function Attachments:release(entry, why, done)
  if #entry.attached == 0 then return done() end
  local function released(count, message)
    if not count then self:problem(("%s: %s"):format(entry.name, message)) end
    if entry.complete then self:tell_of(entry, "detach", why) end
    entry.attached, entry.complete = {}, false
    done()
  end
  local ok, message = self.probe:release(entry.index, released)
  if not ok then released(nil, message) end
end

-- The same, of one that no longer matters: should it matter again, it is a new one.
function Attachments:let_go(entry, why, done)
  self:forget(entry)
  self:release(entry, why, done)
end

-- One of the hooks would not have us, so none is to. `done` also gets what is wrong, which the start must know.
function Attachments:failed(entry, hook, message, code, done)
  local text = ("%s: cannot attach to %s: %s"):format(entry.name, hook, message)
  self:release(entry, nil, function()
    if code == "ENODEV" then
      self:forget(entry)
    elseif entry.said ~= text then
      entry.said = text -- it is tried again when it changes
      self:problem(text)
    end
    if SHORT[code] and self.begun then
      entry.short = true
      self:look_again()
    end
    done(text, code)
  end)
end

-- Attaches root by root, and says so when all are there.
function Attachments:attach_root(entry, i, done)
  local root = self.roots[i]
  if self.stopped then return done() end
  if entry.gone then return self:let_go(entry, nil, done) end
  if not root then
    entry.complete, entry.said = true, nil
    self.order = self.order + 1
    entry.order = self.order
    self:tell_of(entry, "attach")
    return done()
  end
  local ok, message, code = self.probe:attach({
    hook = root.hook, program = root.program, ifindex = entry.index, iface = entry.name, mode = self.attach.mode,
  }, function(mode, failure, failure_code)
    if not mode then return self:failed(entry, root.hook, failure, failure_code, done) end
    entry.attached[i] = { hook = root.hook, mode = mode }
    self:attach_root(entry, i + 1, done)
  end)
  if not ok then self:failed(entry, root.hook, message, code, done) end
end

function Attachments:attach_to(entry, done)
  entry.name, entry.tried = entry.now, entry.state
  self:attach_root(entry, 1, done)
end

-- Whether it is still the interface that we are attached to: changes were lost, and an index may have come again.
function Attachments:look_at(entry, done)
  entry.doubtful = false
  local ok = self.probe:alive(entry.index, function(alive)
    if alive or self.stopped then return done() end
    self:release(entry, "the interface is gone", function() self:attach_to(entry, done) end)
  end)
  if not ok then done() end
end

-- Makes it so for one interface.
function Attachments:step(entry, done)
  entry.queued = false
  if self.stopped then return done() end
  if entry.gone then return self:let_go(entry, "the interface is gone", done) end
  local wanted = self.matches(entry.now)
  if not wanted then
    return self:let_go(entry, ("the interface is called %s now"):format(entry.now), done)
  elseif not entry.complete then
    if entry.tried == entry.state then return done() end
    return self:attach_to(entry, done)
  elseif entry.doubtful then
    return self:look_at(entry, done)
  elseif entry.name ~= entry.now then
    self:tell_of(entry, "detach", ("the interface is called %s now"):format(entry.now))
    entry.name = entry.now
    self:tell_of(entry, "attach")
  end
  done()
end

function Attachments:settle(entry)
  if entry.queued then return end
  entry.queued = true
  self:enqueue(function(done) self:step(entry, done) end)
end

-- What the kernel tells of one interface.
function Attachments:apply(link)
  local entry = self.held[link.index]
  if link.gone then
    if not entry then return end
    self:forget(entry)
    entry.gone = true
  elseif entry then
    entry.now, entry.state = link.name, link.state
  else
    if not self.matches(link.name) then return end
    if self.count >= MOST then
      if not self.full then
        self:problem(("more than %d interfaces match"):format(MOST), "the others are not watched")
      end
      self.full = true
      return
    end
    entry = self:hold(link)
  end
  self:settle(entry)
end

-- All that there is, in place of changes that are not known.
function Attachments:list()
  local ok, message = self.monitor:list(function(list, failure)
    if self.stopped then return end
    if not list then
      self:problem(failure)
      self.unlisted = true
      return self:look_again()
    end
    self.unlisted = false
    local left = {}
    for index, entry in pairs(self.held) do left[index] = entry end
    for _, link in ipairs(list) do
      local entry = self.held[link.index]
      if entry then entry.doubtful = true end
      left[link.index] = nil
      self:apply(link)
    end
    for index in pairs(left) do self:apply { index = index, gone = true } end
    if self.listed then self:enqueue(self.listed) end
    self.listed = nil
  end)
  if not ok then self:problem(message) end
end

-- Begins to watch; nil, message, code when that cannot be.
function Attachments:watch()
  local netns = self.attach.netns
  local monitor, message, code = links.open {
    netns = netns,
    changed = function(changes)
      if self.stopped then return end
      if not changes then return self:list() end
      for _, link in ipairs(changes) do self:apply(link) end
    end,
  }
  if not monitor then return nil, message, code end
  self.monitor = monitor
  if netns and not self.entered then
    self:enqueue(function(done)
      local ok, failure = self.probe:netns(netns)
      if not ok then self:problem(failure) end
      self.entered = ok
      done()
    end)
  end
  self:list()
  return true
end

-- A namespace lives as long as somebody holds it: when its name goes, so do we. The kernel tells nobody of that.
function Attachments:lose_namespace()
  self:problem(("the network namespace %s is gone"):format(self.attach.netns), "it is waited for")
  self.monitor:close()
  self.monitor = nil
  for index in pairs(self.held) do self:apply { index = index, gone = true } end
  self:enqueue(function(done)
    self.probe:netns(nil)
    self.entered = false
    done()
  end)
end

function Attachments:look_again()
  if not self.stopped then self.timer:start(loop.now() + AGAIN) end
end

function Attachments:look()
  if self.stopped then return end
  for _, entry in pairs(self.held) do
    if entry.short then
      entry.short, entry.tried = false, nil
      self:settle(entry)
    end
  end
  if not self.monitor then
    self:watch()
  elseif self.attach.netns and not self.monitor:valid(self.attach.netns) then
    self:lose_namespace()
  elseif self.unlisted then
    self:list()
  end
  if self.attach.netns then self:look_again() end
end

--- Attaches to the interfaces that must be there: a list of { name, index }. done(true) or done(nil, message, code).
function Attachments:start(list, done)
  if self.attach.netns and #list > 0 then
    local ok, message, code = self.probe:netns(self.attach.netns)
    if not ok then return done(nil, message, code) end
    self.entered = true -- the namespace, which is not changed while something is attached
  end
  local function one(i)
    local link = list[i]
    if not link or self.stopped then return done(true) end
    if self.held[link.index] then return one(i + 1) end -- named twice
    local entry = self:hold(link)
    self:enqueue(function(finished)
      self:attach_to(entry, function(message, code)
        finished()
        if message then return done(nil, message, code) end
        one(i + 1)
      end)
    end)
  end
  one(1)
end

--- From now on events are emitted: those of what is attached already, and of what comes and goes. nil, message, code
--- when interfaces cannot be watched.
function Attachments:begin()
  self.begun = true
  for _, entry in ipairs(self:complete()) do self:tell_of(entry, "attach") end
  if self.stopped then return true end
  local ok, message, code = self:watch()
  if not ok and not (self.attach.netns and code == "ENOENT") then return nil, message, code end
  if self.attach.netns then self:look_again() end
  return true
end

-- Interfaces that are attached, the first one first.
function Attachments:complete()
  local list = {}
  for _, entry in pairs(self.held) do
    if entry.complete then list[#list + 1] = entry end
  end
  table.sort(list, function(a, b) return a.order < b.order end)
  return list
end

-- What was attached, for events: a list.
function Attachments:last_of()
  local list = {}
  for _, entry in ipairs(self:complete()) do
    for _, attachment in ipairs(entry.attached) do
      list[#list + 1] = {
        iface = entry.name, hook = attachment.hook, mode = attachment.mode, ifindex = entry.index,
        netns = self.attach.netns,
      }
    end
  end
  return list
end

--- Another probe takes the place of ours (attachments_change.lua). next: { probe, roots, attach, interfaces = as for
--- start }. done(true) or done(nil, message, code), and then all is as before.
function Attachments:take_over(next, done)
  self:enqueue(function(finished)
    change.start(self, next, function(...)
      finished()
      done(...)
      if ... and self.monitor and not self.stopped then self:list() end -- globs may match what did not matter before
    end)
  end)
end

--- Ends it, and everything stays attached: done() when no job is under way.
function Attachments:part(done)
  self.stopped = true
  self.timer:close()
  if self.monitor then self.monitor:close() end
  self:enqueue(function(finished)
    finished()
    done()
  end)
end

--- Ends it: detaches from everything. done(list of what was attached and said to be, message, code), with a message
--- when not all could be detached.
function Attachments:stop(done)
  self.stopped = true
  self.timer:close()
  if self.monitor then self.monitor:close() end
  self:enqueue(function(finished)
    local attached = self:last_of()
    local function ended(count, message, code)
      finished()
      if count then return done(attached) end
      done(attached, message, code)
    end
    local ok, message, code = self.probe:detach(ended)
    if not ok then ended(nil, message, code) end
  end)
end

return attachments
