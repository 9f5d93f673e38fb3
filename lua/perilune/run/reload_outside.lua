-- SPDX-License-Identifier: Apache-2.0
--
-- What of a policy is beyond its programs and its engine, when another declaration takes its place: notifications,
-- captures and exported sets. For reload.lua.
--
-- Receivers that mean the same go on with what waits to be told; others tell what they still have to. A capture belongs
-- to one loaded probe: one that goes on does so in another file. An exported set of the same kind goes on to be the
-- same map, so that whoever has opened it sees nothing of it.
local build = require "perilune.build"
local deliver = require "perilune.run.deliver"
local loop = require "perilune.core.loop"
local tapper = require "perilune.run.tapper"

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

-- Who is in a set that both exported, and would be from the start in the new one's only, leaves it again.
local function put_back(live, next)
  local shared, scope, sets = next.exports:kept_maps(), build.scope(next.probe), live.engine.decide:sets()
  for _, set in ipairs(next.decl.sets) do
    local members = {}
    for _, one in ipairs(shared[set.name] and sets[set.name] or {}) do members[one.member] = true end
    for _, member in ipairs(shared[set.name] and set.members or {}) do
      if not members[member] then scope(set.name, member, false) end
    end
  end
end

--- The old one goes on.
function outside.give_up(live, next)
  if next.tap then next.tap:finish() end
  if not next.exports then return end
  put_back(live, next)
  next.exports:give_up()
end

local function become_capturing(live, next, wall)
  local going = live.tap and live.tap:hand_over(next.decl, next.same.rules, wall) or {}
  live.performers:become("capture", next.tap, 0)
  live.tap = next.tap
  if not next.tap then return end
  for _, one in ipairs(live.attachments:last_of()) do next.tap:interface(one.ifindex, one.iface) end
  for _, action in ipairs(going) do next.tap:perform(action, wall) end
end

local function become_exporting(live, next)
  local before = live.exports
  live.exports = next.exports
  if next.exports then
    next.exports:become(next.probe, live:emitter())
  elseif before then
    before:tell(live:emitter(), true)
    before:close()
  end
end

--- The new one's engine runs, and the old one's probe is still there.
function outside.become(live, next)
  if live.dry_run then return end
  local wall = loop.wall()
  local told = live.performers.by_kind.notify
  live.performers:become("notify", deliver.new(next.decl, live:emitter(), told), LAST_WORDS)
  become_capturing(live, next, wall)
  become_exporting(live, next)
end

return outside
