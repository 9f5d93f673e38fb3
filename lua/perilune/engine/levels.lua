-- SPDX-License-Identifier: Apache-2.0
--
-- Which level is in force and why, as the engine's part that has the ladder: what rules hold as of the last
-- window that was judged, what others claim, and what is told of a change. Pure: time comes with each call.

local claims = require "perilune.engine.claims"
local ladder = require "perilune.engine.ladder"
local words = require "perilune.base.words"

local levels = {}
local Levels = {}
Levels.__index = Levels

-- list: the declaration's levels.
function levels.new(list)
  return setmetatable({
    list = list, ladder = ladder.new(list), claims = claims.new(list),
    held = {}, -- level → rules' instances that hold it
    changes = {}, -- made between windows and not told yet
  }, Levels)
end

--- The index of the highest level that is held, whatever caps there are.
function Levels:wanted()
  local holds = self.claims:merge(self.held)
  for i = #self.list, 2, -1 do
    if #(holds[self.list[i].name] or {}) > 0 then return i end
  end
  return 1
end

function Levels:index() return self.ladder:index() end

-- nil, message when there is no such level.
function Levels:known(name)
  if self.claims:knows(name) then return true end
  local known = {}
  for i, one in ipairs(self.list) do known[i] = one.name end
  return nil, ('there is no level "%s" (%s)'):format(tostring(name), words.suggest(name, known))
end

-- As claims:put. Returns true when the level may change for it. `anew`: what `who` has overstayed (longest) does
-- not count.
function Levels:claim(who, claim, anew)
  if anew then self.ladder:let_off(who) end
  return self.claims:put(who, claim) or anew
end

-- The rule's change that decided a change of level, if one did: of the rule that holds the new level, else of one
-- that let go of the old.
local function decisive(change, rules)
  for _, state in ipairs { "firing", "cleared" } do
    for _, rule in ipairs(rules) do
      if rule.state == state and (state == "cleared" or rule.rule == change.rule) then return rule end
    end
  end
end

-- Puts in what a change is to be told with: values, reason, and the word for the window that it cuts short.
local function account(change, rules, news)
  local decided = decisive(change, rules)
  change.values = {}
  if decided then
    change.reason = change.limit and decided.reason .. ", " .. change.limit or decided.reason
    change.cut = "level"
    for name, value in pairs(decided.values) do change.values[name] = value end
  end
  for _, one in ipairs(news) do
    local claim = one.claim
    change.cut = change.cut or claim.cut
    if claim.why then change.reason = ("%s (%s)"):format(change.reason, claim.why) end
    for name, value in pairs(claim.values or {}) do change.values[name] = value end
  end
  change.cut = change.cut or "level"
  return change
end

local function step(self, now, rules)
  self.claims:expire(now)
  local holds, caps = self.claims:merge(self.held)
  local news = self.claims:news()
  local change = self.ladder:step { now = now, holds = holds, caps = caps }
  if not change then return nil end
  local holder = (self.held[change.held] or {})[1]
  change.rule = holder and holder:match "^%S+"
  return account(change, rules, news)
end

-- A window was judged: `holds` is what rules hold from now on, `rules` their changes. Returns nil, or the change:
-- as the ladder's, with rule (the first that holds the highest level), values and cut.
function Levels:judge(now, holds, rules)
  self.held = holds
  return step(self, now, rules)
end

-- Between windows. Returns nil, or the word to cut the window by; the change itself is kept for take().
function Levels:reconsider(now)
  local change = step(self, now, {})
  if not change then return nil end
  table.insert(self.changes, change)
  return change.cut
end

-- Takes over from the levels of another declaration: the level in force, if there is one of that name, and the
-- claims of those named. `held`: what rules hold. Returns whether the level is the same.
function Levels:inherit(old, held, claimants)
  self.held = held
  local name = old.list[old:index()].name
  for i, level in ipairs(self.list) do
    if level.name == name then self.ladder:resume(i, old.ladder.entered) end
  end
  for _, who in ipairs(claimants) do
    local claim = old.claims:get(who)
    if claim and self.claims:knows(claim.hold or claim.cap) then self.claims:put(who, claim) end
  end
  return self.list[self:index()].name == name
end

-- Goes on at a level (its index) that was entered then.
function Levels:resume(index, entered) self.ladder:resume(index, entered) end

-- Rules have changed between windows, as for judge. Returns nil, or the word to cut the window by.
function Levels:trip(now, holds, rules)
  self.held = holds
  local change = step(self, now, rules)
  if not change then return nil end
  change.cut = "trigger"
  table.insert(self.changes, change)
  return change.cut
end

-- Whether a level (its index) would be entered if a rule held it, the highest of all.
function Levels:is_free(index)
  local _, caps = self.claims:merge(self.held)
  return self.ladder:is_free(index, caps)
end

-- The changes made between windows since the last call.
function Levels:take()
  local list = self.changes
  self.changes = {}
  return list
end

-- From when on the lease of the level in force may run, of a time `now`: not so late that it would outlast the
-- level's longest.
function Levels:renewed(now)
  local due, level = self.ladder:due(), self.list[self:index()]
  return due and level.lease and math.min(now, due - level.lease) or now
end

-- Whether claims have changed since levels were looked at last, or end by `now`.
function Levels:pending(now)
  local due = self.claims:due()
  return next(self.claims.changed) ~= nil or due ~= nil and due <= now
end

-- When the level may change by itself: a claim ends, or a level has lasted its longest. math.huge: never.
function Levels:due()
  return math.min(self.claims:due() or math.huge, self.ladder:due() or math.huge)
end

return levels
