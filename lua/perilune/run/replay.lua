-- SPDX-License-Identifier: Apache-2.0
-- The replay driver: the same engine on a capture's clock. Every frame runs through the real programs, one
-- after the other, so the same capture gives the same events to the byte.
--
-- Windows begin at the first frame's time. Where there is silence for long, windows go on as long as a rule may
-- still change something by them; after that the clock jumps to the next frame, or to where the replay is to end.
local build = require "perilune.build"
local calls = require "perilune.engine.calls"
local engine = require "perilune.engine"
local kept = require "perilune.engine.kept"
local loop = require "perilune.core.loop"
local net = require "perilune.base.net"
local performers = require "perilune.run.performers"
local replay_meter = require "perilune.run.replay_meter"
local tapper = require "perilune.run.tapper"
local triggers = require "perilune.policy.triggers"

local replay = {}

local Replay = {}
Replay.__index = Replay

local A_TURN = 5000 -- frames between two looks at the loop, where signals come in

--- `options`: decl, share, sink, source (traffic.lua: the frames), file (what it is called), local_net (text) or nil,
--- until_wall (µs since the epoch) or seconds (after the first frame): frames from then on are not run, and windows go
--- on until then; captures: whether acts that capture do; least_seconds: windows go on for so long at least, though
--- there are no frames; costs (costs.lua): what levels cost, or nil, and then the budget gives nothing up; audit
--- (audit.lua) or nil; finished = function(message or nil, code).
function replay.new(options)
  local self = setmetatable({
    decl = options.decl, share = options.share, sink = options.sink, source = options.source, file = options.file,
    until_wall = options.until_wall, seconds = options.seconds, least_seconds = options.least_seconds,
    audit = options.audit, finished = options.finished, captures = options.captures, seed = options.seed,
    costs = options.costs,
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
    local tap, message, failure = self:tapper()
    if message then return self:finish(message, failure) end
    self.engine = engine.new { decl = self.decl, planned = info.planned, sink = self.sink, scope = build.scope(probe),
      calls = calls.new(self.decl), performers = performers.new { capture = tap },
      audit = self.audit }
    self:reckon()
    local ok
    ok, message, failure = self:listen()
    if not ok then return self:finish(message, failure) end
    self.timer = loop.timer(function() self:turn() end)
    self.timer:start(loop.now())
  end)
end

-- What packets cost, if that is known.
function Replay:reckon()
  if not self.costs then return end
  self.engine.cost_at = function(level, spare) return self.costs:ns(self.decl.levels[level].name, spare) end
  if not self.decl.budget then return end
  self.meter = replay_meter.new { decl = self.decl, costs = self.costs, engine = self.engine,
    emit = function(event, wall) self.engine:emit(event, wall) end }
end

-- Captures of the capture, if they are wanted.
function Replay:tapper()
  if not self.captures then return nil end
  local message, code
  local function emit(event, wall) self.engine:emit(event, wall) end
  self.tap, message, code = tapper.new(self.decl, self.probe, emit, true)
  if self.tap then self.tap:interface(1, "replay") end -- the programs see frames of a replay on lo
  return self.tap, message, code
end

function Replay:finish(message, code)
  if self.tap then self.tap:finish() end
  if self.timer then self.timer:close() end
  if self.trips then self.trips:close() end
  if self.probe then self.probe:close() end
  self.finished(message, code)
end

function Replay:stop()
  self.stopping = true
  if self.compilation then self.compilation:cancel() end
end

-- Flips, or finds that a trigger has, drains and judges; the next window begins at the same moment.
function Replay:close(cut, wall)
  local _, index = self.engine:level()
  local spare = self.engine:spare()
  local flipped, message, began = self.probe:flip(index, spare.thin, spare.mask)
  if not flipped then return nil, message, began end
  spare = self.engine:spare(began)
  local batches, code
  batches, message, code = self.probe:drain_now(self.engine:maps(began.deepest))
  if not batches then return nil, message, code end
  local changed = self.engine:close(cut, wall, wall / 1e6, batches)
  self.engine:begin(wall, wall / 1e6, self.decl.levels[began.level + 1], spare)
  if changed then
    -- No packet came between: the window at the old level is empty, so the new one takes its place.
    local entered, entered_index = self.engine:level()
    self.probe:flip(entered_index, spare.thin, spare.mask)
    self.probe:drain_now {}
    self.engine.current.level = entered
  end
  self:arm()
  return true
end

-- Which triggers are tested from now on, and which may raise the level.
function Replay:arm()
  if self.trips then self.probe:arm(self.engine:triggers()) end
end

-- Listens to the triggers, if there are any; they are asked after every frame.
function Replay:listen()
  if #self.decl.triggers == 0 then return true end
  local message, code
  self.trips, message, code = self.probe:events("trigger_events", "trigger_event", function(batch)
    for _, trip in ipairs(triggers.trips(batch)) do self.engine:trip(trip, self.last) end
  end)
  return self.trips, message, code
end

-- Whether the frame that came at `wall` has tripped a trigger: then its rule fires, and the window ends with it.
function Replay:follow(wall)
  if not self.trips or self.trips:consume() == 0 then return true end
  self:arm()
  if self.engine:level() == self.engine.current.level and not self.probe:raised() then return true end
  return self:close("trigger", wall)
end

-- When the current window is due to end, µs.
function Replay:due()
  return self.engine.current.start + math.floor(self.engine.current.level.window * 1e6 + 0.5)
end

-- When the engine wants to be asked though nothing was claimed, µs; not before the current window.
function Replay:alarm()
  local start = self.engine.current.start
  local alarm = self.engine:alarm(start, start / 1e6)
  return alarm == math.huge and alarm or math.max(math.floor(alarm * 1e6 + 0.5), start)
end

-- The budget has changed something, maybe: the window then ends.
function Replay:economize(changed, wall)
  local cut = changed and self.engine:reconsider(wall, wall / 1e6)
  if not cut then return true end
  return self:close(cut, wall)
end

-- Asks the engine at its alarm. What it then cuts short ends there.
function Replay:reconsider(alarm)
  local exact = self.engine:alarm(alarm, alarm / 1e6) -- a fraction of a µs later, maybe
  local cut = self.engine:reconsider(alarm, math.max(alarm / 1e6, exact))
  if not cut then return true end
  return self:close(cut, alarm)
end

-- Nothing can change any more until `limit` (µs) or until a packet comes: jumps over whole windows.
function Replay:jump(limit)
  local current = self.engine.current
  local length = self:due() - current.start
  self.engine:skip(math.floor((limit - current.start) / length) * length / 1e6)
  return true
end

-- Closes all windows that end at or before `wall` (µs).
function Replay:advance(wall)
  while true do
    local due, alarm, look = self:due(), self:alarm(), self.meter and self.meter:due() or math.huge
    if math.min(due, alarm, look) > wall then return true end
    local ok, message, code
    if look < math.min(due, alarm) then
      ok, message, code = self:economize(self.meter:tick(look), look)
    elseif alarm < due then
      ok, message, code = self:reconsider(alarm)
    elseif self.idle and self.engine:at_rest() then
      ok = self:jump(math.min(wall, alarm, look))
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
  local sender = self.source.capture:peek_addresses()
  local direction = sender and self.is_local(sender) and "egress" or "ingress"
  for _, root in ipairs(roots) do
    if root.direction == direction then return root end
  end
end

-- The first frame's time is when everything begins.
function Replay:begin(wall)
  self.engine:start(wall, wall / 1e6)
  self:arm()
  if self.seconds then self.until_wall = wall + math.floor(self.seconds * 1e6 + 0.5) end
  if self.least_seconds then self.least_wall = wall + math.floor(self.least_seconds * 1e6 + 0.5) end
end

-- Runs the current frame, which comes at `wall`.
function Replay:frame(wall)
  local ok, message, code = self:advance(wall)
  if not ok then return nil, message, code end
  local root = self:root()
  if not root then return true end
  self.idle = false
  ok, message, code = self.probe:run(root.program, self.source.capture)
  if not ok then return nil, message, code end
  if self.tap then self.tap:consume(self.source.capture) end
  ok, message, code = self:follow(wall)
  if not ok or not self.meter then return ok, message, code end
  return self:economize(self.meter:packet(wall), wall)
end

-- Closes what is open. Without an `until`, the last window goes on to its end, so that it is judged like the others.
function Replay:conclude(last)
  if not last then
    self.engine:start(0, 0) -- no frame, no window
    self.engine:summary(0, nil)
    return true
  end
  local ok, message, code = true, nil, nil
  local till = self.until_wall
  if not till and self.least_wall and self.least_wall > last then till = self.least_wall end
  if till then ok, message, code = self:advance(till) end
  if not ok then return nil, message, code end
  if not till or self.engine.current.start < till then
    ok, message, code = self:close("clock", self:due())
    if not ok then return nil, message, code end
  end
  if self.seed then self:keep() end
  self.engine:release(self.engine.current.start)
  self.engine:summary(self.engine.current.start, nil)
  return true
end

-- What was learnt becomes what the next run begins with.
function Replay:keep()
  local memory = kept.new(self.decl.name, self.engine, function(message, hint)
    self.engine:emit({ event = "error", message = message, hint = hint }, self.engine.current.start)
  end)
  if not memory then return self.sink:status "--seed: the policy has no baseline, so nothing is kept" end
  if memory:save() then self.sink:status(("what was learnt is in %s"):format(memory:path())) end
  memory:close()
end

-- The next frame: true | nil when there is none to be run, and then perhaps why: message, code.
function Replay:step()
  local wall, message, code = self.source:next()
  if not wall then return nil, message, code end
  if not self.last then self:begin(self.source.start or wall) end
  local over = self.until_wall and wall >= self.until_wall
  -- Captures of several queues run back by some µs.
  self.last = math.max(self.last or wall, over and self.until_wall or wall)
  if over then return nil end
  local ok
  ok, message, code = self:frame(self.last)
  if ok then return true end
  self.broken = true
  return nil, message, code
end

-- Some frames, then the loop may bring signals.
function Replay:turn()
  local ok, message, code = true, nil, nil
  for _ = 1, A_TURN do
    if self.stopping or self.engine.sink_failure then ok = nil else ok, message, code = self:step() end
    if not ok then break end
  end
  if ok then return self.timer:start(loop.now()) end
  -- What was read before a capture is cut short is judged and reported all the same.
  if not self.broken then
    local done, why, failure = self:conclude(self.last)
    if not done then message, code = why, failure end
  end
  self:finish(message, code)
end

return replay
