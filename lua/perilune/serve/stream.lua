-- SPDX-License-Identifier: Apache-2.0
--
-- Events to whoever listens, as server-sent events: `event: window`, `data: {…}` (the event's own line), and a comment
-- now and then when there is nothing to say, so that both ends know of each other.
--
-- A listener that does not read loses events, and is told how many as soon as there is room (`event: lost`); it is the
-- only one that notices.
local json = require "perilune.base.json"
local loop = require "perilune.core.loop"

local stream = {}
local Hub = {}
Hub.__index = Hub

local CEILING = 4 * 1024 * 1024 -- bytes that wait for a listener
local HEARTBEAT = 15 -- seconds

stream.MOST = 64 -- listeners

--- changed(): called when somebody has come or gone.
function stream.new(changed)
  return setmetatable({ listeners = {}, count = 0, changed = changed, lost = 0 }, Hub)
end

local function frame(name, text) return ("event: %s\ndata: %s\n\n"):format(name, text) end

local function send(self, listener, text)
  if listener.lost > 0 then
    local ok = listener.call.request:write(frame("lost", json.encode { events = listener.lost }))
    if ok then listener.lost = 0 end
  end
  local ok, _, code = listener.lost == 0, nil, nil
  if ok then ok, _, code = listener.call.request:write(text) end
  listener.said = loop.now()
  if ok or code == "EPIPE" then return end
  listener.lost = listener.lost + 1
  self.lost = self.lost + 1
end

--- Streams to this call: filter = { policy = name or nil, events = set of names or nil, records = bool }.
--- nil when there are too many already.
function Hub:listen(call, filter)
  if self.count >= stream.MOST then return nil end
  local listener = { call = call, filter = filter, lost = 0, said = loop.now() }
  if not call:stream(200, { { "Content-Type", "text/event-stream" } }, { ceiling = CEILING }) then return true end
  call.request:on_gone(function()
    self.listeners[listener] = nil
    self.count = self.count - 1
    self.changed()
  end)
  self.listeners[listener], self.count = true, self.count + 1
  send(self, listener, ": listening\n\n")
  self.changed()
  return true
end

local function wants(filter, policy, name)
  if filter.policy and filter.policy ~= policy then return false end
  if name == "records" then return filter.records end
  return not filter.events or filter.events[name]
end

--- An event of a policy, as its JSON text.
function Hub:publish(policy, name, text)
  local framed
  for listener in pairs(self.listeners) do
    if wants(listener.filter, policy, name) then
      framed = framed or frame(name, text)
      send(self, listener, framed)
    end
  end
end

--- Whether anybody wants the records of this policy.
function Hub:wants_records(policy)
  for listener in pairs(self.listeners) do
    if wants(listener.filter, policy, "records") then return true end
  end
  return false
end

function Hub:tick(now)
  for listener in pairs(self.listeners) do
    if now - listener.said >= HEARTBEAT then send(self, listener, ":\n\n") end
  end
end

--- Ends all of them.
function Hub:close()
  for listener in pairs(self.listeners) do listener.call.request:finish() end
end

return stream
