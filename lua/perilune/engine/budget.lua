-- SPDX-License-Identifier: Apache-2.0
--
-- What watching may cost, and what is given up to stay within it. Pure: what was measured comes with each sample, what
-- is to be done goes out as data. Both ways of a policy's budget are limits: `cost`, ns of the programs for a packet
-- that a hook sees, and `cpu`, a share of one core for programs and process together.
--
-- Over a limit, CONFIRM samples in a row, something is given up:
--
--   1. thin    sampled probes look at one packet in twice as many, or in more times as many where that much is needed;
--              not where measurements say that it cannot bring enough
--   2. shed    the next probe, in the policy's order, that runs at the level in force
--   3. cap     the level below
--
-- Steps are given back in reverse order once there has been room for PATIENCE: when what the step saved, as it was
-- measured when it was taken, still leaves ROOM. What does not seem to fit is tried again after TRIAL all the same, as
-- traffic changes; whatever has to be taken again soon after waits twice as long the next time.

local budget_event = require "perilune.engine.budget_event"
local gauge = require "perilune.engine.budget_gauge"

local budget = {}
local Budget = {}
Budget.__index = Budget

local load_of = budget_event.load

local CONFIRM = 3 -- samples
local SILENCE = 3 -- seconds without packets, after which those before say nothing any more
local AIM = 0.95 -- of the limit: what thinning is to lead to
local ROOM = 0.8 -- of the limit: what giving back may lead to
local PATIENCE, TRIAL = 2, 60 -- seconds
local SOON = 10 -- seconds: what is taken again within them was given back too early
local LONGEST = 32 -- times PATIENCE and TRIAL
-- Of the process's share before a step, what is taken to be left at least, as long as it is not measured again: what
-- windows and rules take it does not go with sampling, and a probe is but one of several.
local LEFT = { thin = 0.75, shed = 0.5, cap = 0 }
-- Seconds to the next sample; of a burst, which is over soon, there should be several.
local SHORT, BUSY, UNCERTAIN, IDLE = 0.003, 0.05, 0.2, 0.5

--- `options`: cost (ns) and cpu (share), one of them or both; shed (list of probes, in order); levels (list of { name,
--- window, probes = list }, cheapest first); thin (probe → how many times its rate may be halved, for those that may).
function budget.new(options)
  return setmetatable({
    limits = { cost = options.cost, cpu = options.cpu }, order = options.shed or {}, levels = options.levels,
    most = options.thin or {}, thin = 0, shed = {}, cap = nil,
    steps = {}, samples = {}, wait = 1, gauge = gauge.new(),
    costs = {}, -- by level: ns a packet, as it was measured there last
  }, Budget)
end

-- Probes of a level that are not shed.
local function running(self, level)
  local set = {}
  for _, name in ipairs(self.levels[level].probes) do set[name] = not self.shed[name] or nil end
  return set
end

-- How often more may be thinned at this level.
local function thinnable(self, level)
  local most = 0
  for name in pairs(running(self, level)) do most = math.max(most, self.most[name] or 0) end
  return math.max(0, most - self.thin)
end

-- How often to thin now; 0 where it cannot bring enough. `rest`: what thinning for ever would bring, as part of the
-- limit; where that is not known yet, all of what programs take.
local function halvings(load, rest, most)
  local excess = load - AIM
  if most == 0 or rest <= excess then return 0 end
  local wanted = math.ceil(math.log(rest / (rest - excess)) / math.log(2) - 1e-9)
  return math.min(math.max(wanted, 1), most)
end

local function next_to_shed(self, level)
  local runs = running(self, level)
  for _, name in ipairs(self.order) do
    if runs[name] then return name end
  end
end

local function push(self, step)
  self.steps[#self.steps + 1] = step
  return step
end

-- Takes the next step: a list of what was taken, each { what, … }; empty when nothing is left.
local function take(self, m, level)
  local load, limit = load_of(self.limits, m)
  local rest = self.rest and self.rest.level == level and self.rest.load or nil
  local most = thinnable(self, level)
  local times = halvings(load, rest or limit == "cpu" and m.programs / self.limits.cpu or load, most)
  local shed = times == 0 and next_to_shed(self, level)
  if times == 0 and not shed and most > 0 and rest and rest > 0.05 then times = most end -- better than a level less
  local taken = {}
  if times > 0 then
    self.thin = self.thin + times
    for i = 1, times do taken[i] = push(self, { what = "thin", level = level, times = i }) end
  elseif shed then
    self.shed[shed] = true
    self.rest = nil
    taken[1] = push(self, { what = "shed", level = level, probe = shed })
  elseif level > 1 then
    taken[1] = push(self, { what = "cap", level = level, before = self.cap })
    self.cap = level - 1
    self.rest = nil
  end
  return taken
end

-- What was saved is known: shares it out among the steps, as each halving saves half of the one before.
local function settle(self, before, after, load_before, load_after, taken)
  if not (before and after) then return nil end
  local saved = math.max(0, before - after)
  if taken[1].what ~= "thin" then
    taken[1].saved = saved
    return saved
  end
  local times = #taken
  for i, step in ipairs(taken) do step.saved = saved * 2 ^ -i / (1 - 2 ^ -times) end
  self.rest = { level = taken[1].level, load = math.max(0, load_before - load_after) / (2 ^ times - 1) }
  return saved
end

-- What giving a step back would add to the cost of a packet at this level, ns; nil: not known.
local function price(self, step, s, m)
  if step.what == "thin" then
    local runs = running(self, s.level)
    for name in pairs(self.most) do
      if runs[name] then return step.level == s.level and step.saved or m.cost end -- at most twice as much
    end
    return 0
  elseif step.what == "shed" then
    for _, name in ipairs(self.levels[s.level].probes) do
      if name == step.probe then return step.saved end
    end
    return 0
  end
  return s.wanted and s.wanted <= self.cap and 0 or step.saved
end

local function give(self, step)
  self.steps[#self.steps] = nil
  if step.what == "thin" then
    self.thin = self.thin - 1
  elseif step.what == "shed" then
    self.shed[step.probe] = nil
  else
    self.cap = step.before
  end
  self.rest = nil
end

-- Gives back what fits; `trial`: the first in any case. Returns how many.
local function give_back(self, s, m, trial)
  local given, added = 0, 0
  while #self.steps > 0 do
    local step = self.steps[#self.steps]
    local more = price(self, step, s, m) or not m.cost and 0 or nil -- of few packets none costs too much
    local fits = more and load_of(self.limits, {
      cost = m.cost and m.cost + added + more, cpu = m.cpu + (added + more) * m.rate / 1e9,
    }) <= ROOM
    if not fits and not (trial and given == 0) then break end
    added = added + (more or 0)
    give(self, step)
    given = given + 1
    if not fits then break end
  end
  return given
end

-- Probes that are shed, in the policy's order.
function Budget:shed_list()
  local list = {}
  for _, name in ipairs(self.order) do
    if self.shed[name] then list[#list + 1] = name end
  end
  return list
end

-- After a change everything is measured anew.
local function anew(self)
  self.samples, self.room = {}, nil
  self.gauge:anew()
end

local function over(self, s, m, out)
  local load = load_of(self.limits, m)
  local taken = take(self, m, s.level)
  local what = taken[1] and taken[1].what or "spent"
  if what == "spent" and self.spent then return end -- said already
  self.spent = what == "spent"
  if self.given and s.now - self.given < SOON then self.wait = math.min(self.wait * 2, LONGEST) end
  self.given = nil
  out.events[#out.events + 1] = budget_event.make(self, what, m)
  if what == "spent" then return end
  out.changed = true
  self.taken = { steps = taken, cost = m.cost, load = load }
  anew(self)
end

-- Some samples after a change: what it has brought.
local function settled(self, m, out)
  local before = self.taken
  self.taken = nil
  local saved = settle(self, before.cost, m.cost, before.load, (load_of(self.limits, m)), before.steps)
  out.events[#out.events + 1] = budget_event.make(self, "settled", m, saved)
end

local function under(self, s, m, out)
  local load = load_of(self.limits, m)
  self.spent = load > ROOM and self.spent
  if self.given and s.now - self.given >= SOON then self.given = nil end
  if load > AIM or #self.steps == 0 then
    self.room = nil
    if #self.steps == 0 and not self.given then self.wait = 1 end
    return
  end
  self.room = self.room or s.now
  local since = s.now - self.room
  if since < PATIENCE * self.wait then return end
  if give_back(self, s, m, since >= TRIAL * self.wait) == 0 then return end
  self.given = s.now
  out.changed = true
  anew(self)
  out.events[#out.events + 1] = budget_event.make(self, "back", m)
end

-- Whether a sample of few packets leaves what was measured of those before in force: bursts have pauses between them.
local function is_pause(self, m, now)
  if m.cost then self.heard = now end
  return self.limits.cost and not m.cost and self.heard and now - self.heard < SILENCE
end

-- Whether it can be said of a sample whether it was over. What is given up makes the process take less, if anything.
local function is_certain(self, m, load)
  if not self.limits.cpu or m.known then return true end
  if load <= 1 then return m.guess end
  local step = self.steps[#self.steps]
  local left = step and m.guess and LEFT[step.what] or 0
  return load_of(self.limits, { cost = m.cost, cpu = m.programs + left * (m.cpu - m.programs) }) > 1
end

-- How many of the last samples were over a limit.
local function count_high(self)
  local high = 0
  for _, m in ipairs(self.samples) do high = high + (load_of(self.limits, m) > 1 and 1 or 0) end
  return high
end

-- Seconds until the next sample. `certain`: what the last one says is known.
local function pace(self, certain)
  if not certain then return UNCERTAIN end
  local list = self.samples
  if #list < CONFIRM or load_of(self.limits, list[#list]) > 1 and not self.spent then return SHORT end
  return (self.taken or count_high(self) > 0 and not self.spent) and BUSY or IDLE
end

-- The last samples together, when there are enough of them: what follows from them.
local function judge(self, s, out)
  local m, high = gauge.mean(self.samples), count_high(self)
  if self.taken then settled(self, m, out) end
  if high == CONFIRM then
    if not (self.cap and self.cap < s.level) then over(self, s, m, out) end -- the cap is yet to take effect
  elseif high == 0 then
    under(self, s, m, out)
  end
end

--- One sample, taken wholly at one level and one way of thinning and shedding: runs and ns (of how many runs) in
--- `seconds`, of which they took the last `busy`; now (seconds), used (CPU seconds of the process so far), passed (how
--- many packets hooks have seen so far) and passed_at (by when), level (index in force), wanted
--- (index that would be, were there no cap of ours). → { changed = whether thin, shed or cap are other than before,
--- events = list, next = seconds until the next sample }
function Budget:sample(s)
  local out = { changed = false, events = {} }
  if self.level ~= s.level then
    self.level, self.taken = s.level, self.taken and self.taken.steps[1].what == "cap" and self.taken or nil
    anew(self)
  end
  local list, last = self.samples, self.gauge:measure(s, self.levels[s.level].window)
  local load, pause = load_of(self.limits, last), is_pause(self, last, s.now)
  local certain = is_certain(self, last, load)
  if certain and not (pause and load <= 1) then
    list[#list + 1] = last
    if #list > CONFIRM then table.remove(list, 1) end
    self.costs[s.level] = gauge.mean(list).cost or self.costs[s.level]
    if #list == CONFIRM then judge(self, s, out) end
  end
  out.next = pace(self, certain)
  return out
end

return budget
