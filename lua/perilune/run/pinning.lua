-- SPDX-License-Identifier: Apache-2.0
--
-- run --pin: a policy that goes on in the kernel without its process (pinned.h), and the process that goes on
-- with it. For build.lua, which loads or adopts, and live.lua, whose windows end in two steps then:
--
--   flip → read → engine:close, written out → entered in the ledger → cleared → go on
--
-- Adopted is what a process has left that was killed: a window that it had closed and perhaps written out in part is
-- written out (again), under the same number; the one that went on ends as soon as somebody is there. Both are cut by
-- "adopted", and rules do not judge them. Totals and level go on; rules, sets and baselines begin anew, and the level
-- is held until they have judged a whole window. Captures have ended with the process; a rule that fires again begins
-- another.
local account = require "perilune.engine.account"
local loop = require "perilune.core.loop"
local pinned = require "perilune.core.pinned"
local planner = require "perilune.build.plan"
local pinning_reload = require "perilune.run.pinning_reload"
local plan_gates = require "perilune.probe.plan_gates"
local words = require "perilune.base.words"

local pinning = {}

local Pinning = {}
Pinning.__index = Pinning
for name, method in pairs(pinning_reload.methods) do Pinning[name] = method end

local FLUSH = 0.01 -- seconds between looks at an output that could not be written at once
local AGAIN = 0.5 -- between attempts to read what could not be read
local HAND_ON = 2 -- in which a daemon has handed it on, or is not waited for
local LOOK = 0.005 -- and at pins that another process is about to leave,
local LEAVING = 20 -- which it has to within so many

-- Why this policy cannot be pinned, or nil.
local function obstacle(decl, upgrade)
  for _, set in ipairs(upgrade and decl.sets or {}) do
    if set.export then return ('set "%s" is exported, which --upgrade cannot hand over yet'):format(set.name) end
  end
end

local function boot_id()
  local file = io.open "/proc/sys/kernel/random/boot_id"
  local text = file and file:read "*l"
  if file then file:close() end
  return text
end

-- Whether who has the pins is to leave them, or has just been killed and takes its time to end.
local function will_leave(name, upgrade)
  local look = pinned.look(name)
  return upgrade or look and not look.alive
end

--- Takes the pins of a policy, for perilune of this version. `upgrade`: also those that another process has, which is
--- asked to leave once this one has what it needs to go on. nil, message, code when they cannot be had.
function pinning.open(decl, version, upgrade)
  local why = obstacle(decl, upgrade)
  if why then return nil, ("--pin: %s: %s"):format(decl.name, why), "ENOTSUP" end
  local handle, message, code = pinned.open(decl.name)
  if not handle and not (code == "EBUSY" and will_leave(decl.name, upgrade)) then
    return nil, "--pin: " .. message, code
  end
  return setmetatable({ decl = decl, handle = handle, version = version, boot = boot_id() }, Pinning)
end

-- What of a plan says how the object's maps and programs are to be understood.
local function how(decl, planned)
  local out = { "account", account.VERSION }
  local function add(one, names)
    for _, name in ipairs(names) do
      local value = one[name]
      if type(value) == "table" then
        local parts = {}
        for _, key in ipairs(words.keys(value)) do parts[#parts + 1] = key .. "=" .. tostring(value[key]) end
        value = table.concat(parts, ",")
      end
      out[#out + 1] = tostring(value)
    end
  end
  for _, window in ipairs(planned.windows) do
    add(window, { "map", "kind", "entries", "role", "probe", "index", "fold" })
  end
  for _, entry in ipairs(planned.entries) do add(entry, { "map", "entries" }) end
  for _, root in ipairs(planned.roots) do add(root, { "hook", "program", "direction" }) end
  for _, level in ipairs(decl.levels) do add(level, { "name", "lease" }) end
  return table.concat(out, "\n")
end

--- For build.lua, of a declaration that may take this one's place (reload.lua): it is loaded as any other, and pinned
--- when it does.
function Pinning:successor(decl)
  local next = { pin = function() return true end, empty_sets = function() end }
  function next:load(probe, object, planned, done)
    self.digest = pinned.digest(object, how(decl, planned))
    return probe:load(done)
  end
  return next
end

--- In place of probe:load: adopts what there is, or loads it. done(true) or done(nil, message, code).
function Pinning:load(probe, object, planned, done)
  self.digest = pinned.digest(object, how(self.decl, planned))
  if not self.handle then return self:wait(probe, done) end
  if not self.handle:found() then return probe:load(done) end
  local ok, message, code = self.handle:adopt(probe, self.digest)
  self.adopted = ok or nil
  done(ok, message, code)
  return true
end

-- Nobody leaves for somebody who could not go on.
local function different(look)
  return ("process %d runs %s as perilune %s built it, and this policy, built by this version, is another"):format(
    look.pid, look.policy, look.version)
end

-- Until another process has left; then adopts, or loads, what there is.
function Pinning:wait(probe, done)
  local name, look = self.decl.name, pinned.look(self.decl.name)
  if look and look.alive then
    if look.digest ~= self.digest then
      return done(nil, different(look) .. " (stop that process, then start this one)", "ESTALE")
    end
    local ok, message, code = pinned.ask(name)
    if not ok then return done(nil, message, code) end
  end
  local deadline, timer = loop.now() + LEAVING, nil
  timer = loop.timer(function()
    local handle, message, code = pinned.open(name)
    if not handle and code == "EBUSY" and loop.now() < deadline then return timer:start(loop.now() + LOOK) end
    timer:close()
    if not handle then return done(nil, message, code) end
    self.handle = handle
    if handle:found() then
      local ok
      ok, message, code = handle:adopt(probe, self.digest)
      self.adopted = ok or nil
      return done(ok, message, code)
    end
    local ok
    ok, message, code = probe:load(done)
    if not ok then done(nil, message, code) end
  end)
  timer:start(loop.now())
  return true
end

--- Once it is loaded, and before its windows are made: pins it, if it is not. nil, message, code when that fails.
function Pinning:pin(probe)
  if self.adopted then return true end
  local ok, message, code = self.handle:begin(probe, self.digest, { version = self.version, file = self.decl.file })
  if not ok then return nil, message, code end
  self.begun = true
  return true
end

--- Before the members are put into the sets: those whom rules of another process have put there leave.
function Pinning:empty_sets(probe)
  if not self.adopted then return end
  for _, set in ipairs(self.decl.sets or {}) do
    if set.scope or set.export then probe:empty(planner.scope_map(set.name)) end
  end
end

-- ---------------------------------------------------------------------------------------------- a window's end

-- Waits until all that the sink was given is written; fn(): it is, or never will be.
local function when_written(live, fn)
  local out = live.sink.out
  local timer
  local function look()
    if out and not out:settled() then out:write "" end
    if out and out.failure then
      live.engine.sink_failure = live.engine.sink_failure or { out.failure.message, out.failure.code }
    elseif out and not out:settled() then
      timer = timer or loop.timer(look)
      return timer:start(loop.now() + FLUSH)
    end
    if timer then timer:close() end
    fn()
  end
  look()
end

--- The same, and until a daemon that it was given to has handed it on: done(), or done(message, code) when it cannot
--- be. abandoned(): this process leaves, since the daemon has gone, and the next one tells it.
function Pinning.when_told(live, done, abandoned)
  local function finished()
    local lost = live.engine.sink_failure
    if lost and live.sink.mark then return abandoned() end
    if lost and lost[2] ~= "EPIPE" then return done(lost[1], lost[2]) end
    done()
  end
  when_written(live, function()
    if not live.sink.mark or live.engine.sink_failure then return finished() end
    local timer
    local function once()
      if not timer then return end
      timer:close()
      timer = nil
      finished()
    end
    timer = loop.timer(once)
    timer:start(loop.now() + HAND_ON)
    live.sink:mark(once)
  end)
end

-- Maps of which something was read: the others are clean already.
local function filled(batches_count)
  local maps = {}
  for position, count in pairs(batches_count) do maps[position] = count > 0 end
  return maps
end

-- What may be better in a moment.
local SHORT = { ENOMEM = true, EMFILE = true, ENFILE = true }

--- Reads the window that has ended, as probe:read does; where memory or descriptors are short, as soon as they are not.
function Pinning:read(live, maps, done)
  return live.probe:read(maps, function(batches, cost, code)
    if batches then self.short = false end
    if batches or not SHORT[code] or live.stopping then return done(batches, cost, code) end
    if not self.short then
      self.short = true
      live:problem(cost, "it is tried again and nothing is lost, but windows become longer")
    end
    local timer
    timer = loop.timer(function()
      timer:close()
      local ok, message, failure = self:read(live, maps, done)
      if not ok then done(nil, message, failure) end
    end)
    timer:start(loop.now() + AGAIN)
  end)
end

--- How many records each map gave, before the engine takes the batches.
function Pinning.counts(batches)
  local counts = {}
  for position, batch in pairs(batches) do counts[position] = batch:count() end
  return counts
end

--- The window that was read last is closed: done() once it is written out, entered and cleared; done(message, code)
--- when it cannot be cleared.
function Pinning:commit(live, counts, done)
  self.when_told(live, function(lost, lost_code)
    if lost then return done(lost, lost_code) end
    live.probe:exported(pinning_reload.sums(live.engine, live.planned))
    local ok, message, code = live.probe:clear(filled(counts), function(cleared, failure, failure_code)
      if not cleared then return done(failure, failure_code) end
      done()
    end)
    if not ok then done(message, code) end
  end, done)
end

-- ---------------------------------------------------------------------------------------------- adoption

-- How much probes looked at in a window, as thrift.lua has it.
local function spare_of(decl, window, given)
  local shed = {}
  for name, mask in pairs(plan_gates.bits(decl)) do shed[name] = bit.band(window.shed, mask) ~= 0 or nil end
  return { thin = window.thin, mask = window.shed, shed = shed, given = given }
end

-- Where a window stands that another process began.
local function begin_window(live, window)
  local decl, engine = live.decl, live.engine
  engine.seq = window.seq - 1
  engine:begin(window.wall, window.mono, decl.levels[window.level + 1], spare_of(decl, window, engine:spare().given))
end

-- For how long the lease of the window's level has run out, in seconds; 0: it has not.
local function overdue(decl, window, renewed, now)
  local lease = decl.levels[window.level + 1].lease
  return lease and renewed and math.max(0, now - renewed - lease) or 0
end

-- The level that was in force is so still, unless its lease has run out.
local function resume_level(live, window, lapsed)
  local index = window.level + 1
  if lapsed > 0 or index == 1 or live.dry_run then return end
  local name = live.decl.levels[index].name
  live.engine.levels:resume(index, window.mono)
  live.engine:claim("adopted", { hold = name, why = "the level of the process before" })
end

local function all_maps(planned)
  local maps = {}
  for position in ipairs(planned.windows) do maps[position] = true end
  return maps
end

-- Reads, tells and clears the window that another process had closed.
local function finish_closed(self, live, found, done)
  local closed, current = found.closed, found.current
  if found.half == "clearing" then
    begin_window(live, current)
    local ok, message, code = live.probe:clear(all_maps(live.planned), function(cleared, failure, failure_code)
      if not cleared then return done(nil, failure, failure_code) end
      done(true)
    end)
    if not ok then done(nil, message, code) end
    return
  end
  begin_window(live, closed)
  if #live.decl.triggers > 0 then live.engine.current.deepest = live.decl.levels[#live.decl.levels] end
  local ok, message, code = live.probe:read(all_maps(live.planned), function(batches, cost, failure)
    if not batches then return done(nil, cost, failure) end
    live.engine:close("adopted", current.wall, current.mono, batches, cost)
    begin_window(live, current)
    local everything = {}
    for position in ipairs(live.planned.windows) do everything[position] = 1 end
    self:commit(live, everything, function(wrong, wrong_code)
      done(wrong == nil or nil, wrong, wrong_code)
    end)
  end)
  if not ok then done(nil, message, code) end
end

--- What the event of the start says besides: windows are told apart by boot and seq.
function Pinning:about(seq) return { boot = self.boot, seq = seq, adopted = self.adopted or false } end

--- Begins the first window of a policy that is pinned anew, when and as the ledger has it.
function Pinning:start(live)
  local first = live.probe:account().current
  live.engine.seq = first.seq - 1
  live.engine:start(first.wall, first.mono, self:about(first.seq))
end

--- Begins where another process has left off: done(true) when the half that is not counted in is clean, or done(nil,
--- message, code).
function Pinning:resume(live, done)
  local found = live.probe:account()
  local now = loop.now()
  local ok, message = account.give(live.engine, found.sums)
  if not ok then return done(nil, message, "EPROTO") end
  if not found.current or found.half ~= "clean" and found.half ~= "inherited" and not found.closed then
    return done(nil, "the ledger does not know the window that goes on", "EPROTO")
  end
  local lapsed = overdue(live.decl, found.current, found.renewed, now)
  resume_level(live, found.current, lapsed)
  if found.half == "inherited" then return self:resume_inherited(live, found.current, begin_window, done) end
  self.handle:settled() -- a policy that was about to take this one's place has come to nothing
  local first = found.half == "quiet" and found.closed or found.current
  begin_window(live, first)
  live.engine:tell_start(loop.wall(), self:about(first.seq))
  local function finished(fine, failure, code)
    if fine and lapsed > 0 then live.engine:lapse(lapsed) end
    done(fine, failure, code)
  end
  if found.half == "clean" then return finished(true) end
  finish_closed(self, live, found, finished)
end

--- After a window was closed that rules have judged: they hold the level themselves from now on.
function Pinning:judged(live)
  if not self.adopted or self.handed then return end
  self.handed = true
  live.engine:claim("adopted", { why = "rules have judged a window" })
end

--- Once all interfaces that are there are attached to: links to others were left by the process before.
function Pinning:drop(live, done)
  if not self.adopted then return done() end
  local function dropped(count, message)
    if not count then live:problem(message) end
    done()
  end
  local ok, message = live.probe:drop(dropped)
  if not ok then dropped(nil, message) end
end

-- ---------------------------------------------------------------------------------------------- the end

--- written: everything that was counted here is written out, or nothing was counted. Else what is pinned stays, for the
--- next process.
function Pinning:close(live)
  local counting = live.engine and live.engine.current
  local out = live.sink.out -- one that was closed has no reader who could miss anything
  local told = not out or out:settled() or out.failure ~= nil and out.failure.code == "EPIPE"
  local written = live.well_ended and not live.failure and told or not counting and not self.adopted
  if not self.handle then return end
  local nothing = not self.begun and not self.adopted and not self.handle:found() -- but directories
  if nothing or (self.begun or self.adopted) and written then
    self.handle:remove()
  else
    self.handle:leave()
  end
end

return pinning
