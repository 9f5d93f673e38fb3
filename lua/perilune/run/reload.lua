-- SPDX-License-Identifier: Apache-2.0
--
-- Another declaration of a policy takes the place of the one that runs, as a transaction:
--
--   compile, load, verify beside it │ wait for a window's end │ take over what means the same │ swap programs, each in
--   one step │ end and read the old one's last window │ go on
--
-- Until the swap the old one runs as if nothing were, and goes on when something is wrong. Every packet is seen
-- by one of the two. For live.lua, whose parts it changes.

local build = require "perilune.build"
local calls = require "perilune.engine.calls"
local engine = require "perilune.engine"
local exports = require "perilune.build.exports"
local loop = require "perilune.core.loop"
local outside = require "perilune.run.reload_outside"
local sameness = require "perilune.policy.sameness"

local reload = {}

-- Why this declaration cannot take the place of the one that runs, or nil.
local function obstacle(live, decl)
  if live.next then return "it is being loaded anew already", "EBUSY" end
  if not live.engine or not live.engine.current or live.stopping then return "it does not run", "ESRCH" end
  if decl.name ~= live.decl.name then return ("it is called %s now"):format(decl.name), "ENOTSUP" end
  for _, key in ipairs { "netns", "mode" } do
    if decl.attach[key] ~= live.decl.attach[key] then
      return ("attach: %s is another"):format(key), "ENOTSUP"
    end
  end
end

local function scoped_sets(next)
  local list = {}
  for _, set in ipairs(next.decl.sets) do
    if (set.scope or set.export) and next.same.sets[set.name] then list[#list + 1] = set.name end
  end
  return list
end

-- Whoever is in a set that stays is in the new one's before its first packet.
local function fill(live, next)
  local sets, scope = live.engine.decide:sets(), build.scope(next.probe)
  for _, name in ipairs(scoped_sets(next)) do
    for _, member in ipairs(sets[name]) do scope(name, member.member, true) end
  end
end

-- An engine for the loaded probe, which has nothing to go on from yet.
local function engine_of(live, next)
  local made = engine.new {
    decl = next.decl, planned = next.planned, sink = live.sink, dry_run = live.dry_run,
    scope = build.scope(next.probe), calls = calls.new(next.decl), performers = live.performers,
    audit = live.audit and live.audit:follow(next.decl),
  }
  made.claimed = function() live:reconsider() end
  made.cost_at = live.engine.cost_at
  return made
end

-- The new one's engine goes on where the old one's has come to, and that is told: what goes on, then what of the old
-- one does not, then the new one begins. Those whom nobody wants in a set any more leave it.
local function succeed(live, next, wall, mono)
  local old, made, same, names = live.engine, next.engine, next.same, {}
  local before = old.decide:sets()
  local abandoned = old:abandon(same)
  local kept = made:inherit(old, same, abandoned)
  local after = made.decide:sets()
  for _, name in ipairs(scoped_sets(next)) do
    local stays = {}
    for _, member in ipairs(after[name]) do stays[member.member] = true end
    for _, member in ipairs(before[name]) do
      if not stays[member.member] then made.scope(name, member.member, false) end
    end
  end
  table.insert(kept and same.kept or same.lost, 1, "level " .. old:level().name)
  for i, level in ipairs(next.decl.levels) do names[i] = level.name end
  old:emit({ event = "reload", file = next.decl.file, levels = names, level = next.level.name, kept = same.kept,
    lost = same.lost }, wall)
  old.scope = function() return true end -- its programs run no more, and a map may be the new one's as well
  old:told_of(abandoned, wall)
  made:begin(wall, mono, next.level, next.spare)
  made:begin_audit(wall)
end

-- The old one goes on; what was made for the new one is gone.
local function give_up(live, next, message, code)
  if live.trips then live.trips:close() end
  live.trips = next.trips
  outside.give_up(live, next)
  next.probe:close()
  live.next, live.draining = nil, false
  next.done(nil, message, code)
  if live.stopping then return live:take_down() end
  live.timer:start(live.engine:due())
  live:reconsider()
end

-- The new one runs, and windows go on.
local function resume(live, next)
  next.done(true)
  live:take_trips()
  if live.leaving and not live.stopping then return live:part() end
  if live.stopping then return live:take_down() end
  live.timer:start(math.max(live.engine:due(), loop.now()))
  live:reconsider()
end

-- The old one's last window is read: the new one's is the current.
local function go_on(live, next, flipped, batches, cost, code)
  live.next, live.draining, live.due = nil, false, false
  if not batches then
    live.broken = true
    live.probe:close()
    live.probe = next.probe
    return live:fail(cost, code)
  end
  live.engine:close("reload", flipped.wall, flipped.mono, batches, cost)
  succeed(live, next, flipped.wall, flipped.mono)
  live.engine, live.audit = next.engine, next.engine.audit
  outside.become(live, next)
  if next.trips then next.trips:close() end
  live.probe:close()
  live.probe, live.planned, live.decl = next.probe, next.planned, next.decl
  live.costs = nil -- they were another declaration's
  live.force = { level = next.position, spare = next.spare }
  live:watch_budget()
  live:remember_anew()
  if not live.pinned then return resume(live, next) end
  live.draining = true
  live.pinned:settle(live, next, function(failure, failure_code)
    live.draining = false
    if not failure then return resume(live, next) end
    live.broken = true
    live:fail(failure, failure_code)
  end)
end

-- The programs are the new one's everywhere: what the old one has counted since its last window is read.
local function swapped(live, next)
  local old = live.probe
  local wall, mono, began = old:flip(0, 0, 0)
  if not wall then return go_on(live, next, nil, nil, mono, began) end
  local function read(batches, cost, failure)
    go_on(live, next, { wall = wall, mono = mono }, batches, cost, failure)
  end
  local maps = live.engine:maps(began.deepest)
  local ok, message, code
  if live.pinned then
    ok, message, code = live.pinned:read(live, maps, read)
  else
    ok, message, code = old:drain(maps, read)
  end
  if not ok then go_on(live, next, nil, nil, message, code) end
end

-- The new one's level of the old one's name, else the first: position.
local function level_of(live, next)
  local name = live.engine:level().name
  for i, level in ipairs(next.decl.levels) do
    if level.name == name then return i end
  end
  return 1
end

--- No window is being read: the moment to change, when something is loaded.
function reload.swap(live)
  local next = live.next
  live.timer:stop()
  live.alarm:stop()
  live.draining = true -- nothing else ends the window
  next.same = sameness.of(live.decl, next.decl)
  fill(live, next)
  next.engine = engine_of(live, next)
  next.spare = next.engine:foresee(live.engine, next.same)
  next.position = level_of(live, next)
  next.level = next.decl.levels[next.position]
  next.probe:clock()
  next.probe:renew()
  next.probe:flip(next.position - 1, next.spare.thin, next.spare.mask)
  next.probe:drain_now {}
  next.trips, live.trips, live.waiting = live.trips, nil, {}
  local ok, message, code = live:listen(next.probe, next.decl)
  if ok then ok, message, code = outside.prepare(live, next) end
  if ok and live.pinned then ok, message, code = live.pinned:succeed(live, next) end
  if not ok then return give_up(live, next, message, code) end
  live.attachments:take_over({
    probe = next.probe, roots = next.planned.roots, attach = next.decl.attach, interfaces = next.interfaces,
  }, function(taken, why, failure)
    if not taken and live.pinned then live.pinned:undo() end
    if not taken then return give_up(live, next, why, failure) end
    swapped(live, next)
  end)
end

--- Another declaration takes the place of the one that runs. done(true), or done(nil, message, code) and all is as
--- before; ENOTSUP: it may well run, but cannot take the place of this one.
function reload.start(live, decl, interfaces, done)
  local why, code = obstacle(live, decl)
  if why then
    return done(nil, ("%s cannot be replaced while it runs: %s"):format(live.decl.name, why), code)
  end
  local next = { decl = decl, interfaces = interfaces, done = done }
  next.pinned = live.pinned and live.pinned:successor(decl)
  if not live.dry_run then
    next.exports, why, code = exports.open(decl, live.exports)
    if why then return done(nil, why, code) end
  end
  live.next = next
  local with = { share = live.share, exports = next.exports, pinned = next.pinned }
  next.compilation = build.start(decl, with, function(probe, info, failure)
    next.compilation = nil
    if live.ended or live.stopping or not probe then
      if next.exports then next.exports:give_up() end
      if probe then probe:close() end
      live.next = nil
      return done(nil, probe and "the run has ended" or info, probe and "ECANCELED" or failure)
    end
    next.probe, next.planned = probe, info.planned
    if live.draining then return end -- settle() comes to it
    if live.pinned then live:cut_now() else reload.swap(live) end -- what is pinned has just told of a window, then
  end)
end

return reload
