-- SPDX-License-Identifier: Apache-2.0
-- How a live run ends: by itself, for somebody, or since something failed. For live.lua, whose methods these are.
--
--   detach → flip "exit" → drain → what acts have begun is ended → summary → finished()
--
-- One that leaves (pinning.lua) ends its own part only: what is attached goes on.
local loop = require "perilune.core.loop"

local LAST_WORDS = 5 -- seconds that notifications may take at the end

local Live = {}

function Live:finish(message, code)
  if self.ended then return end
  if self.performers then self.performers:finish() end
  self.ended = true
  self.timer:close()
  if self.kept then self.kept:close() end
  self.bound:close()
  self.alarm:close()
  if self.meter then self.meter:stop() end
  if self.steps then self.steps:close() end
  if self.trips then self.trips:close() end
  if self.next and self.next.compilation then self.next.compilation:cancel() end
  if self.next and self.next.probe then self.next.probe:close() end
  if self.exports then self.exports:close() end
  if self.probe then self.probe:close() end
  if self.audit then self.audit:close() end -- before somebody else has the pins
  if self.pinned then self.pinned:close(self) end
  self.finished(message, code)
end

-- Something failed, and no work is under way: take down what is up, then say so.
function Live:fail(message, code)
  if self.ended then return end
  self.failure = self.failure or { message, code }
  self.stopping = true
  if self.probe then self:take_down() else self:finish(message, code) end
end

-- An output that was closed ends the run, and that is no failure.
function Live:check_sink()
  local failure = self.engine.sink_failure
  if not failure then return end
  if failure[2] ~= "EPIPE" then self.failure = self.failure or failure end
  if self.sink.mark then self:abandon() else self:stop() end
end

--- Ends the run: detaches, reads what is left, reports. May be called at any time, more than once.
function Live:stop()
  if self.stopping or self.ended then return end
  self.stopping = true
  self.timer:stop()
  if self.compilation then return self.compilation:cancel() end
  if not self.engine or not self.engine.current then return end -- loading or attaching: attach() sees it
  if not self.draining then self:take_down() end -- else settle() does
end

--- Ends this process's part in a policy that is pinned: it stays attached and counts, for another process. One that is
--- not pinned goes on.
function Live:leave()
  if not self.pinned or self.leaving or self.stopping or self.ended then return end
  self.leaving = true
  if self.force and not self.draining then self:part() end -- else begin() or go_on() does
end

--- Whoever has started it is gone: it ends, and what is pinned goes on.
function Live:abandon()
  if self.pinned then self:leave() else self:stop() end
end

function Live:part()
  self.stopping = true
  self.timer:stop()
  if self.meter then self.meter:stop() end
  self.attachments:part(function()
    local wall = loop.wall()
    self.engine:release(wall)
    if self.exports then self.exports:tell(self:emitter(), true) end
    self.performers:close(LAST_WORDS, function()
      if self.kept then self.kept:save() end
      self.engine:summary(wall, {}, true)
      self.probe:leave()
      self:finish(unpack(self.failure or {}, 1, 2))
    end)
  end)
end

-- Detach first, so that nothing is counted that will not be read; then the last window.
function Live:take_down()
  if self.taken_down then return end
  self.taken_down = true
  self.timer:stop()
  if self.meter then self.meter:stop() end
  local function detached(attached, message, code)
    self.detached = attached
    if message then self.failure = self.failure or { message, code } end
    if self.engine and self.engine.current and not self.broken then
      self:flip "exit"
    else
      self:finish(unpack(self.failure or {}, 1, 2))
    end
  end
  if self.attachments then return self.attachments:stop(detached) end
  detached {}
end

-- What acts have begun is ended, which may take a moment; then the last words.
function Live:ended_well(wall)
  self.engine:release(wall)
  if self.exports then self.exports:tell(self:emitter(), true) end
  self.performers:close(LAST_WORDS, function()
    for _, attachment in ipairs(self.detached) do
      self.engine:emit({
        event = "detach", iface = attachment.iface, hook = attachment.hook, mode = attachment.mode,
        ifindex = attachment.ifindex, netns = attachment.netns,
      }, wall)
    end
    if self.kept and not self.dry_run then self.kept:save() end
    self.engine:summary(wall, self.detached)
    self.well_ended = true
    self:finish(unpack(self.failure or {}, 1, 2))
  end)
end

return Live
