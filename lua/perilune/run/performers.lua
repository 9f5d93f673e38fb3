-- SPDX-License-Identifier: Apache-2.0
--
-- Who does what acts want done outside of the engine, by kind of act: each has perform(action, wall), flush(wall) after
-- a window's acts, close(seconds, finished) at the end, and finish(), which ends it at once. A kind that nobody
-- performs, as in a replay, is only said.

local performers = {}

local Performers = {}
Performers.__index = Performers

--- `by_kind`: kind → performer.
function performers.new(by_kind)
  return setmetatable({ by_kind = by_kind, leaving = {} }, Performers)
end

--- Whether somebody does what acts of this kind want.
function Performers:can(kind) return self.by_kind[kind] ~= nil end

--- From now on acts of this kind are performed by another, or by nobody (nil). Who did so until now has `seconds` to
--- come to an end.
function Performers:become(kind, performer, seconds)
  local before = self.by_kind[kind]
  self.by_kind[kind] = performer
  if not before then return end
  self.leaving[before] = true
  before:close(seconds, function() self.leaving[before] = nil end)
end

--- An act begins or ends: action as decide.lua hands it out; wall: when, µs.
function Performers:perform(action, wall)
  self.by_kind[action.act]:perform(action, wall)
end

function Performers:flush(wall)
  for _, performer in pairs(self.by_kind) do performer:flush(wall) end
end

--- What is under way may go on for `seconds`; finished() is called once, when all is over.
function Performers:close(seconds, finished)
  local left = 1
  local function one_less()
    left = left - 1
    if left == 0 then finished() end
  end
  for _, performer in pairs(self.by_kind) do
    left = left + 1
    performer:close(seconds, one_less)
  end
  one_less()
end

--- Ends all at once.
function Performers:finish()
  for performer in pairs(self.leaving) do performer:finish() end
  for _, performer in pairs(self.by_kind) do performer:finish() end
end

return performers
