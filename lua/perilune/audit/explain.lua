-- SPDX-License-Identifier: Apache-2.0
--
-- An audit log as a story: what happened at each moment, and why. Pure: records (audit/read.lua) in, moments out, and
-- lines of one.

local format = require "perilune.base.format"
local sink_text = require "perilune.show.sink_text"

local explain = {}

local Story = {}
Story.__index = Story

-- What stands for itself: attached, detached, errors, the budget's steps, reloads.
local PLAIN = { start = true, attach = true, detach = true, error = true, budget = true, emit = true, reload = true,
  summary = true }

--- tell(moment): hears of every moment, in order. A moment: time (µs), policy, transitions, rules, actions, plain
--- (records), claims.
function explain.new(tell)
  return setmetatable({ tell = tell }, Story)
end

local function fresh(record)
  return { time = record.at, policy = record.policy, seq = record.seq, transitions = {}, rules = {}, actions = {},
    plain = {}, claims = {} }
end

local LISTS = { transition = "transitions", rule = "rules", action = "actions", claim = "claims" }

function Story:flush()
  local moment = self.moment
  self.moment = nil
  if moment then self.tell(moment) end
end

--- One record.
function Story:take(record)
  local list = LISTS[record.event] or PLAIN[record.event] and "plain"
  if not list then return end
  local moment = self.moment
  -- What belongs together has one time and one window; a start, an end or an error stands alone.
  local alone = record.event == "start" or record.event == "summary"
  local other = moment and moment.seq and record.seq and moment.seq ~= record.seq
  if not moment or moment.time ~= record.at or moment.alone or alone or other then
    self:flush()
    moment = fresh(record)
    moment.alone = alone
    self.moment = moment
  end
  moment.seq = moment.seq or record.seq
  table.insert(moment[list], record)
end

function Story:finish() self:flush() end

-- Of a transition: packets lost so far, without those a limit of the policy left out.
function explain.lost(transition)
  local sum = 0
  for name, count in pairs(transition.loss or {}) do
    if name ~= "limited" then sum = sum + count end
  end
  return transition.loss and sum or nil
end

--- Whether a rule had part in a moment: it changed, holds a level that changed, or had something done.
function explain.concerns(moment, rule)
  for _, list in ipairs { moment.rules, moment.actions, moment.plain } do
    for _, record in ipairs(list) do
      if record.rule == rule then return true end
    end
  end
  for _, transition in ipairs(moment.transitions) do
    if transition.rule == rule then return true end
    for _, holder in ipairs(transition.held_by) do
      if holder == rule or holder:sub(1, #rule + 1) == rule .. " " then return true end
    end
  end
  return false
end

local function plural(number, word) return ("%s %s%s"):format(format.count(number), word, number == 1 and "" or "s") end

-- The text of an event without its time.
local function text_of(record)
  local e = setmetatable({ time = record.at }, { __index = record })
  local lines = sink_text.lines(e, {})
  lines[1] = lines[1]:match "^%S+  (.*)$"
  return lines
end

local MOST = 8 -- of a list

local function listed(list, show)
  local parts = {}
  for i = 1, math.min(#list, MOST) do parts[i] = show(list[i]) end
  if #list > MOST then parts[#parts + 1] = ("and %d more"):format(#list - MOST) end
  return table.concat(parts, ", ")
end

local function claim_text(claim)
  local what = {}
  if claim.hold then what[1] = "holds " .. claim.hold end
  if claim.cap then what[#what + 1] = "caps at " .. claim.cap end
  return ("%s %s%s"):format(claim.who, #what > 0 and table.concat(what, ", ") or "lets go",
    claim.why and ": " .. claim.why or "")
end

local function same(text) return text end

local function transition_lines(out, t)
  local after = t.after
  out[#out + 1] = { ("%s → %s%s"):format(t.from, t.to, after and ("  after %s at %s (%s, %s)"):format(
    format.duration(after.seconds), t.from, plural(after.windows, "window"), plural(after.packets, "packet")) or "") }
  local function more(text) out[#out + 1] = { text, true } end
  more("because " .. t.reason)
  if #t.held_by > 0 then more("held by " .. listed(t.held_by, same)) end
  if #t.capped_by > 0 then more("capped by " .. listed(t.capped_by, same)) end
  if t.cost_before and t.cost_after then
    more(("costs %s ns a packet, before %s"):format(format.count(t.cost_after), format.count(t.cost_before)))
  end
  local lost = explain.lost(t)
  if lost and lost > 0 then more(("lost so far: %s"):format(plural(lost, "packet"))) end
end

-- Rules that changed, beside the one whose reason the transition gives: by rule and state, since there may be
-- thousands.
local function rule_lines(out, moment)
  local told, groups = {}, {}
  for _, t in ipairs(moment.transitions) do told[t.reason] = true end
  for _, change in ipairs(moment.rules) do
    if not told[change.reason] then
      local id = change.rule .. " " .. change.state
      if not groups[id] then
        groups[id] = {}
        groups[#groups + 1] = groups[id]
      end
      table.insert(groups[id], change)
    end
  end
  for _, group in ipairs(groups) do
    local first = group[1]
    if #group == 1 then
      out[#out + 1] = { ("rule %s: %s"):format(first.state, first.reason) }
    else
      out[#out + 1] = { ("rule %s %s: %s instances: %s"):format(first.rule, first.state, format.count(#group),
        listed(group, function(change) return change.key end)) }
    end
  end
end

local function action_lines(out, moment)
  local groups, told = {}, {}
  for _, t in ipairs(moment.transitions) do told[t.reason] = true end
  for _, action in ipairs(moment.actions) do
    local id = ("%s %s %s"):format(action.act, action.set or "", tostring(action.undo))
    if action.act ~= "add" then id = id .. #groups end -- each is told by itself
    if not groups[id] then
      groups[id] = {}
      groups[#groups + 1] = groups[id]
    end
    table.insert(groups[id], action)
  end
  for _, group in ipairs(groups) do
    local first = group[1]
    if first.act == "add" then
      local members = listed(group, function(action) return action.member end)
      out[#out + 1] = { ("%s %s %s %s"):format(first.undo and "remove" or "add", members,
        first.undo and "from" or "to", first.set), true }
    elseif not told[first.text or false] then -- a log of the reason that the transition gives
      out[#out + 1] = { text_of(first)[1], true }
    end
  end
end

--- A moment as lines: { text, whether it says more of the line before }.
function explain.lines(moment)
  local out = {}
  for _, claim in ipairs(moment.claims) do out[#out + 1] = { claim_text(claim) } end
  for _, record in ipairs(moment.plain) do
    for i, line in ipairs(text_of(record)) do out[#out + 1] = { line, i > 1 } end
  end
  for _, transition in ipairs(moment.transitions) do transition_lines(out, transition) end
  rule_lines(out, moment)
  action_lines(out, moment)
  for _, line in ipairs(out) do line[1] = format.clean(line[1]) end
  return out
end

--- A moment as an event (event/audit_event.lua: told), one for each transition and one for what happened without.
function explain.events(moment)
  local rules, done = {}, {}
  for i, change in ipairs(moment.rules) do
    rules[i] = { rule = change.rule, key = change.key, state = change.state, reason = change.reason }
  end
  local lines = {}
  for _, claim in ipairs(moment.claims) do done[#done + 1] = claim_text(claim) end
  for _, record in ipairs(moment.plain) do done[#done + 1] = text_of(record)[1] end
  action_lines(lines, moment)
  for _, line in ipairs(lines) do done[#done + 1] = line[1] end
  local events = {}
  for i, t in ipairs(moment.transitions) do
    events[i] = { event = "told", policy = moment.policy, time = moment.time, seq = moment.seq,
      from = t.from, to = t.to, because = t.reason,
      held_by = t.held_by, capped_by = t.capped_by, values = t.values, after = t.after,
      cost_before = t.cost_before, cost_after = t.cost_after, lost = explain.lost(t), rules = {}, done = {} }
  end
  if #events == 0 then
    events[1] = { event = "told", policy = moment.policy, time = moment.time, seq = moment.seq }
  end
  events[1].rules, events[1].done = rules, done
  return events
end

return explain
