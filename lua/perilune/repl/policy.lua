-- SPDX-License-Identifier: Apache-2.0
--
-- Policies that run in a session: s = run "file.lua".
--
--   s:level()  s:level("alert", "10m")  s:level(false)     which is in force; hold one, for a time; let go
--   s:rows "to"  s:top("to", 10, "syn")  s:watch "to"      records of a probe in the last closed window
--   s:transitions()  s:rules()  s:sets()  s:series "packets"  s:stop()

local blame = require "perilune.base.blame"
local far = require "perilune.repl.far"
local format = require "perilune.base.format"
local list = require "perilune.records.list"
local policy = require "perilune.policy"
local trial = require "perilune.policy.trial"
local units = require "perilune.base.units"
local watch = require "perilune.repl.watch"
local words = require "perilune.base.words"

local running = {}

local methods = {}
local Policy = { __metatable = "policy" }
local behind = setmetatable({}, { __mode = "k" })

function Policy.__index(_, name)
  if methods[name] then return methods[name] end
  blame.fail('a running policy has no "%s" (%s)', tostring(name), words.suggest(name, words.keys(methods)))
end

function Policy.__tostring(s)
  local inner = behind[s]
  local own = inner.runner
  return ("policy %s  %s"):format(own.decl.name, own.ended and "ended" or "running at " .. tostring(own.level))
end

local function own_of(s)
  local inner = behind[s]
  if not inner then blame.fail "expected a running policy; call it with a colon, as in s:level()" end
  if inner.runner.ended then blame.fail("the policy %s has ended", inner.runner.decl.name) end
  return inner.runner, inner.session
end

local function probe_of(own, name)
  local known = {}
  for i, probe in ipairs(own.decl.probes) do
    if probe.name == name then return probe end
    known[i] = probe.name
  end
  blame.fail('the policy has no probe "%s" (%s)', tostring(name), words.suggest(tostring(name), known))
end

-- Records of a probe in the last window at the level in force, which is waited for; an error when it does not run
-- there.
function methods.rows(s, name)
  local own, session = own_of(s)
  probe_of(own, name)
  while not own.ended and not (own.last and own.last.level == own.level) do
    session:await(function(done)
      own:next_window(done)
      return own
    end)
  end
  local rows = own:rows(name)
  if not rows then blame.fail("%s does not run at the level %s", name, tostring(own.level)) end
  return rows
end

function methods.top(s, name, n, field) return methods.rows(s, name):top(n or 10, field or "packets"):copy() end

function methods.watch(s, name)
  local own = own_of(s)
  probe_of(own, name)
  return watch.new { start = function() return own end, probe = name }
end

function methods.level(s, name, time)
  local own = own_of(s)
  if name == nil then return own.level end
  local seconds, message
  if time ~= nil then
    seconds, message = units.parse(time, "duration")
    if not seconds then blame.fail("level: %s", message) end
  end
  if name then
    local known = {}
    for i, level in ipairs(own.decl.levels) do known[i] = level.name end
    local found = false
    for _, one in ipairs(known) do found = found or one == name end
    if not found then
      blame.fail('there is no level "%s" (%s)', tostring(name), words.suggest(tostring(name), known))
    end
  end
  own:pin(name or nil, seconds)
end

local function events_of(own, wanted, columns)
  local rows = {}
  for _, e in ipairs(own.events) do
    if e.event == wanted then
      local row = { time = format.clock(e.time) }
      for _, column in ipairs(columns) do row[column] = e[column] end
      rows[#rows + 1] = row
    end
  end
  local fields = { "time", unpack(columns) }
  return list.new(rows, { fields = fields })
end

function methods.transitions(s) return events_of(own_of(s), "transition", { "from", "to", "reason" }) end
function methods.rules(s) return events_of(own_of(s), "rule", { "rule", "key", "state", "reason" }) end

function methods.sets(s)
  local rows, own = {}, own_of(s)
  if own.sets then return own:sets() end
  local sets = own.driver.engine and own.driver.engine.decide:sets() or {}
  for _, name in ipairs(words.keys(sets)) do
    for _, member in ipairs(sets[name]) do rows[#rows + 1] = { set = name, member = member.member } end
  end
  return list.new(rows, { fields = { "set", "member" } })
end

function methods.series(s, field) return own_of(s):rates(field or "packets") end

function methods.stop(s)
  local own, session = own_of(s)
  if far.is_one(own) then return own:stop() end
  local summary = session:await(function(done)
    own:stop(function(totals, message) done(totals, message or "it ended without totals") end)
    return own
  end)
  running.forget(session, own)
  return { packets = summary.packets, bytes = summary.bytes, windows = summary.windows,
    transitions = summary.transitions, loss = summary.loss }
end

function running.forget(session, own)
  for i, other in ipairs(session.policies) do
    if other == own then table.remove(session.policies, i) end
  end
end

--- Loads the policy's file and starts it. `set`: values of its options by name.
function running.start(session, file, set)
  local texts = {}
  for name, value in pairs(set or {}) do texts[name] = tostring(value) end
  local decl, message = trial.load(policy.load, { file = file, set = texts, templates = session.templates })
  if not decl then error(message, 0) end
  local own
  own = session:start_runner(decl, function(why)
    running.forget(session, own)
    session:note(("the policy %s has ended%s"):format(decl.name, why and ": " .. why or ""))
  end)
  table.insert(session.policies, own)
  return running.of(session, own)
end

--- What a person gets of a runner, or of a policy of the daemon's (far.lua).
function running.of(session, own)
  local s = setmetatable({}, Policy)
  behind[s] = { runner = own, session = session }
  return s
end

--- Names of its probes, or of its levels, for completion.
function running.names(s, what)
  local names = {}
  for i, one in ipairs(behind[s].runner.decl[what]) do names[i] = one.name end
  return names
end

--- Names of the methods, for completion.
function running.methods() return words.keys(methods) end

function running.is(thing) return behind[thing] ~= nil end

return running
