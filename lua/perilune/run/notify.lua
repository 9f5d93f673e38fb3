-- SPDX-License-Identifier: Apache-2.0
--
-- What a receiver is told, and when: grouping, rate limit, silence, retries, and a bound on all of it. Pure: it is told
-- what fires and what clears, and asked for the next message; sending is deliver.lua's.
--
-- An instance of a rule is known here from when it fires until its end has been told (or would have been). It waits in
-- line while there is something to tell of it; if it clears before that, its end is told, with its beginning, so that
-- nothing short is missed. There is one message at a time. What has to wait for the rate, or for a message that is
-- under way, goes with the next one.
--
-- Times: `now` in seconds of a steady clock, `wall` in µs since the epoch.

local interfaces = require "perilune.base.interfaces"
local net = require "perilune.base.net"
local times = require "perilune.calendar.times"

local notify = {}
local Queue = {}
Queue.__index = Queue

local MOST_ALERTS = 500     -- in one message
local LONGEST_BACKOFF = 60  -- seconds
local SILENCE_CHECK = 5     -- seconds between looks at whether a silence has ended
local EPSILON = 1e-6

-- A silence of a declaration, made ready: what a key has to look like is a network that it is in, or a glob.
local function silence_of(declared)
  local key = declared.key
  return {
    first = declared.first, from = declared.from, to = declared.to,
    rule = declared.rule and interfaces.matcher { declared.rule },
    key = key and (net.matcher(key) or interfaces.matcher { key }),
  }
end

--- `receiver`: a plain declaration of receivers.lua; `now`: when the run begins.
function notify.new(receiver, now)
  -- As many messages at once as the rate allows in a minute, at least one.
  local burst = receiver.rate and math.max(1, math.floor(receiver.rate * 60 + EPSILON))
  local silences = {}
  for i, declared in ipairs(receiver.silence) do silences[i] = silence_of(declared) end
  return setmetatable({
    receiver = receiver, silences = silences, started = now, known = {}, count = 0,
    line = {}, first = 1, last = 0, waiting = 0, since = nil,
    quiet = {}, quiet_count = 0, checked = now,
    burst = burst, tokens = burst, filled = now,
    dropped = 0, dropped_told = 0, lost = 0, silenced = 0, told = 0,
  }, Queue)
end

local function id_of(alert) return alert.rule .. "\0" .. (alert.key or "") end

-- Whether a silence of the receiver's is in force for this alert.
local function is_silenced(self, alert, now, wall)
  for _, silence in ipairs(self.silences) do
    if silence.first then
      if now < self.started + silence.first - EPSILON then return true end
    elseif (not silence.rule or silence.rule(alert.rule)) and (not silence.key or silence.key(alert.key or ""))
      and times.between(wall / 1e6, silence.from, silence.to) then
      return true
    end
  end
  return false
end

local function stand_in_line(self, entry, now)
  if entry.waits then return end
  entry.waits = true
  self.last = self.last + 1
  self.line[self.last] = entry
  self.waiting = self.waiting + 1
  self.since = self.since or now
end

local function forget(self, entry)
  if self.known[entry.id] == entry then
    self.known[entry.id] = nil
    self.count = self.count - 1
  end
  if self.quiet[entry] then
    self.quiet[entry] = nil
    self.quiet_count = self.quiet_count - 1
  end
end

--- An instance fires. alert: { rule, key or nil, reason, values, start (µs) }. Returns "waits", "silenced" or
--- "dropped".
function Queue:fire(alert, now, wall)
  local id = id_of(alert)
  local entry = self.known[id]
  if not entry then
    if self.count >= self.receiver.queue then
      self.dropped = self.dropped + 1
      return "dropped"
    end
    entry = { id = id }
    self.known[id] = entry
    self.count = self.count + 1
  end
  entry.alert, entry.over = alert, nil
  if is_silenced(self, alert, now, wall) then
    self.silenced = self.silenced + 1
    if not self.quiet[entry] then
      self.quiet[entry] = true
      self.quiet_count = self.quiet_count + 1
    end
    return "silenced"
  end
  stand_in_line(self, entry, now)
  return "waits"
end

--- It fires no more, since `finish` (µs), for that reason. One that nobody knows of is let go.
function Queue:clear(rule, key, finish, reason, now)
  local entry = self.known[id_of { rule = rule, key = key }]
  if not entry then return end
  entry.over = { finish = finish, reason = reason }
  if self.quiet[entry] then return forget(self, entry) end
  if self.receiver.resolve then
    stand_in_line(self, entry, now)
  elseif not entry.waits then
    forget(self, entry)
  end
end

-- Those whose silence has ended and which still fire.
local function wake(self, now, wall)
  if self.quiet_count == 0 or now < self.checked + SILENCE_CHECK - EPSILON then return end
  self.checked = now
  local awake = {}
  for entry in pairs(self.quiet) do
    if not is_silenced(self, entry.alert, now, wall) then awake[#awake + 1] = entry end
  end
  table.sort(awake, function(a, b) return a.id < b.id end)
  for _, entry in ipairs(awake) do
    self.quiet[entry] = nil
    self.quiet_count = self.quiet_count - 1
    stand_in_line(self, entry, now)
  end
end

local function fill(self, now)
  if not self.burst then return end
  self.tokens = math.min(self.burst, self.tokens + (now - self.filled) * self.receiver.rate)
  self.filled = now
end

-- What is told of an entry that has come to the head of the line.
local function tell(self, entry)
  local alert, over = entry.alert, self.receiver.resolve and entry.over or nil
  entry.waits = false
  if entry.over then forget(self, entry) end
  return {
    state = over and "resolved" or "firing", rule = alert.rule, key = alert.key, reason = alert.reason,
    values = alert.values, start = alert.start, finish = over and over.finish, over = over and over.reason,
  }
end

local function compose(self)
  local message = { alerts = {}, firing = 0, resolved = 0, attempt = 1, dropped = self.dropped - self.dropped_told }
  self.dropped_told = self.dropped
  while self.first <= self.last and #message.alerts < MOST_ALERTS do
    local told = tell(self, self.line[self.first])
    self.line[self.first] = nil
    self.first = self.first + 1
    message.alerts[#message.alerts + 1] = told
    message[told.state] = message[told.state] + 1
  end
  self.waiting = self.waiting - #message.alerts
  if self.waiting == 0 then self.since = nil end
  return message
end

--- The message that is to be sent now, or nil: { alerts = list of { state, rule, key, reason, values, start, finish,
--- over }, firing, resolved, attempt, dropped }. Its fate has to be told by done().
function Queue:next(now, wall)
  wake(self, now, wall)
  if self.message then
    if not self.again or not self.closing and now < self.again - EPSILON then return nil end
    self.again = nil
    self.message.attempt = self.message.attempt + 1
    return self.message
  end
  if self.waiting == 0 then return nil end
  fill(self, now)
  if not self.closing then
    if now < self.since + self.receiver.group - EPSILON then return nil end
    if self.burst and self.tokens < 1 - EPSILON then return nil end
    if self.burst then self.tokens = self.tokens - 1 end
  end
  self.message = compose(self)
  return self.message
end

--- How an attempt has ended: `ok`, or whether another may help. Returns "told", "again" with the seconds until then, or
--- "lost".
function Queue:done(ok, again, now)
  local message = self.message
  if ok then
    self.told = self.told + #message.alerts
  elseif again and message.attempt <= self.receiver.retries then
    local wait = math.min(LONGEST_BACKOFF, 2 ^ (message.attempt - 1))
    self.again = now + wait
    return "again", wait
  else
    self.lost = self.lost + #message.alerts
  end
  self.message = nil
  return ok and "told" or "lost"
end

--- When next() may have something that it has not now; nil: when something happens.
function Queue:due(now)
  local due = self.again
  if not self.message and self.waiting > 0 then
    fill(self, now)
    due = self.since + self.receiver.group
    if self.burst and self.tokens < 1 then due = math.max(due, now + (1 - self.tokens) / self.receiver.rate) end
  end
  if self.quiet_count > 0 then due = math.min(due or math.huge, self.checked + SILENCE_CHECK) end
  return due
end

--- The end is near: nothing waits for its group or the rate any more.
function Queue:close() self.closing = true end

--- Whether there is nothing left to tell.
function Queue:is_empty() return not self.message and self.waiting == 0 end

--- What is lost if nothing more is sent.
function Queue:left() return self.waiting + (self.message and #self.message.alerts or 0) end

return notify
