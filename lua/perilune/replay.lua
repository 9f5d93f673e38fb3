-- SPDX-License-Identifier: Apache-2.0
-- The replay driver: the same engine on a capture's clock. Every frame runs through the real programs, one
-- after the other, so the same capture gives the same events to the byte.
--
-- Windows begin at the first frame's time. Where a capture is silent for long, windows go on as long as a
-- rule may still change something by them; after that the clock jumps to the next frame.
local build = require "perilune.build"
local calls = require "perilune.calls"
local engine = require "perilune.engine"
local net = require "perilune.net"

local replay = {}

local Replay = {}
Replay.__index = Replay

--- `options`: decl, share, sink, capture (perilune.core.capture), file (its name), local_net (text) or nil,
--- finished = function(message or nil, code).
function replay.new(options)
  local self = setmetatable({
    decl = options.decl, share = options.share, sink = options.sink, capture = options.capture, file = options.file,
    finished = options.finished, frames = 0, skipped = 0,
  }, Replay)
  if options.local_net then self.is_local = net.matcher(options.local_net) end
  return self
end

function Replay:start()
  self.sink:status(("compiling %s for a replay of %s"):format(self.decl.name, self.file))
  self.compilation = build.start(self.decl, { share = self.share, replay = true }, function(probe, info, code)
    self.compilation = nil
    if self.stopping or not probe then return self:finish(not self.stopping and info or nil, code) end
    self.probe = probe
    self.planned = info.planned
    self.engine = engine.new { decl = self.decl, planned = info.planned, sink = self.sink, scope = build.scope(probe),
      calls = calls.new(self.decl) }
    local ok, message, failure = self:run()
    self:finish(not ok and message or nil, failure)
  end)
end

function Replay:finish(message, code)
  if self.probe then self.probe:close() end
  self.finished(message, code)
end

function Replay:stop()
  self.stopping = true
  if self.compilation then self.compilation:cancel() end
end

-- Flips, drains and judges; the next window begins at the same moment.
function Replay:close(cut, wall)
  local level, index = self.engine:level()
  local _, message, code = self.probe:flip(index)
  if code then return nil, message, code end
  local batches
  batches, message, code = self.probe:drain_now(self.engine:maps())
  if not batches then return nil, message, code end
  local changed = self.engine:close(cut, wall, wall / 1e6, batches)
  self.engine:begin(wall, wall / 1e6, level)
  if changed then
    -- No packet came between: the window at the old level is empty, so the new one takes its place.
    local entered, entered_index = self.engine:level()
    self.probe:flip(entered_index)
    self.probe:drain_now {}
    self.engine.current.level = entered
  end
  return true
end

-- When the current window is due to end, µs.
function Replay:due()
  return self.engine.current.start + math.floor(self.engine.current.level.window * 1e6 + 0.5)
end

-- When the engine wants to be asked though nothing was claimed, µs; not before the current window.
function Replay:alarm()
  local alarm = self.engine:alarm()
  if alarm == math.huge then return alarm end
  return math.max(math.ceil(alarm * 1e6), self.engine.current.start)
end

-- Asks the engine at its alarm. What it then cuts short ends there.
function Replay:reconsider(alarm)
  local cut = self.engine:reconsider(math.max(alarm / 1e6, self.engine:alarm()))
  if not cut then return true end
  return self:close(cut, alarm)
end

-- Nothing can change any more until `limit` (µs) or until a packet comes: jumps over whole windows.
function Replay:jump(limit)
  local current = self.engine.current
  local length = self:due() - current.start
  local start = current.start + math.floor((limit - current.start) / length) * length
  current.start, current.mono = start, start / 1e6
  return true
end

-- Closes all windows that end at or before `wall` (µs).
function Replay:advance(wall)
  while true do
    local due, alarm = self:due(), self:alarm()
    if math.min(due, alarm) > wall then return true end
    local ok, message, code
    if alarm < due then
      ok, message, code = self:reconsider(alarm)
    elseif self.idle and self.engine:at_rest() then
      ok = self:jump(math.min(wall, alarm))
    else
      self.idle = true
      ok, message, code = self:close("clock", due)
    end
    if not ok then return nil, message, code end
  end
end

-- The root program that sees the current frame, or nil when the policy's hooks do not.
function Replay:root()
  local roots = self.planned.roots
  if not self.is_local then return roots[1] end
  local source = self.capture:peek_addresses()
  local direction = source and self.is_local(source) and "egress" or "ingress"
  for _, root in ipairs(roots) do
    if root.direction == direction then return root end
  end
end

function Replay:run()
  local last, cut_short
  while not self.stopping do
    local wall, message, code = self.capture:next()
    if not wall then
      if code then cut_short = { message, code } end
      break
    end
    if last and wall < last then wall = last end -- captures of several queues run back by some µs
    last = wall
    if not self.engine.current then self.engine:start(wall, wall / 1e6) end
    local ok
    ok, message, code = self:advance(wall)
    if not ok then return nil, message, code end
    local root = self:root()
    if root then
      self.idle = false
      ok, message, code = self.probe:run(root.program, self.capture)
      if not ok then return nil, message, code end
    end
    if self.engine.sink_failure then break end
  end
  if last then
    -- The last window goes on to its end, so that it is judged like the others.
    last = self:due()
    local ok, message, code = self:close("clock", last)
    if not ok then return nil, message, code end
  else
    self.engine:start(0, 0) -- an empty capture has no window
  end
  self.engine:summary(last or 0, nil)
  if cut_short then return nil, unpack(cut_short) end
  return true
end

return replay
