-- SPDX-License-Identifier: Apache-2.0
--
-- What of a policy is beyond its programs and its engine, when another declaration takes its place: notifications and
-- captures. For reload.lua.
--
-- Receivers that mean the same go on with what waits to be told; others tell what they still have to. A capture belongs
-- to one loaded probe: one that goes on does so in another file.
local deliver = require "perilune.deliver"
local loop = require "perilune.core.loop"
local tapper = require "perilune.tapper"

local outside = {}

local LAST_WORDS = 5 -- seconds that notifications of receivers that are gone may take

--- Before the programs are swapped: what may fail. true | nil, message, code
function outside.prepare(live, next)
  if live.dry_run then return true end
  local message, code
  next.tap, message, code = tapper.new(next.decl, next.probe, live:emitter())
  if message then return nil, message, code end
  return true
end

--- The old one goes on.
function outside.give_up(next)
  if next.tap then next.tap:finish() end
end

local function become_capturing(live, next, wall)
  local going = live.tap and live.tap:hand_over(next.decl, next.same.rules, wall) or {}
  live.performers:become("capture", next.tap, 0)
  live.tap = next.tap
  if not next.tap then return end
  for _, one in ipairs(live.attachments:last_of()) do next.tap:interface(one.ifindex, one.iface) end
  for _, action in ipairs(going) do next.tap:perform(action, wall) end
end

--- The new one's engine runs, and the old one's probe is still there.
function outside.become(live, next)
  if live.dry_run then return end
  local wall = loop.wall()
  local told = live.performers.by_kind.notify
  live.performers:become("notify", deliver.new(next.decl, live:emitter(), told), LAST_WORDS)
  become_capturing(live, next, wall)
end

return outside
