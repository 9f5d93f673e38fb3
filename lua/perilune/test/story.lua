-- SPDX-License-Identifier: Apache-2.0
--
-- What happened in a replay, kept for a test to judge: a sink for its events. Times are seconds on the test's clock.
--
--   stays    levels in the order in which they were in force: { level, at, rule, reason, progress }
--   fired    firings of rules: { rule, key, at, progress }
--   acts     what was done, steps of the budget's too: { act, rule, key, text, at, progress }
--   errors   { message, at }
-- progress: of every capture, by name, how many frames had been run then.

local format = require "perilune.base.format"

local test_story = {}

--- A time on a test's clock, to the millisecond: "60.1 s".
function test_story.clock(seconds)
  return (("%.3f"):format(seconds):gsub("%.?0+$", "")) .. " s"
end

local Story = {}
Story.__index = Story

--- decl: the policy's declaration; progress(): the frames run so far, by the capture's name.
function test_story.new(decl, progress)
  local held = {} -- by set: who is in it from the start
  for _, set in ipairs(decl.sets) do held[set.name] = set.members end
  return setmetatable({
    policy = decl.name, held = held, progress = progress, packets = 0, seconds = 0,
    stays = {}, fired = {}, acts = {}, errors = {}, entries = {}, lines = {},
  }, Story)
end

function Story:tell(at, text)
  self.lines[#self.lines + 1] = ("%9s  %s"):format(test_story.clock(at), format.clean(text))
end

local heard = {}

function heard.start(self, e)
  self.begin = e.time
  self.stays[1] = { level = e.levels[1], at = 0, progress = self.progress() }
  self:tell(0, e.levels[1])
end

function heard.rule(self, e, at)
  self:tell(at, ("rule %s  %s"):format(e.state, e.reason))
  if e.state == "firing" then
    self.fired[#self.fired + 1] = { rule = e.rule, key = e.key, at = at, progress = self.progress() }
  end
end

function heard.transition(self, e, at)
  self:tell(at, ("%s → %s  %s"):format(e.from, e.to, e.reason))
  self.stays[#self.stays + 1] = { level = e.to, at = at, rule = e.rule, reason = e.reason, progress = self.progress() }
end

function heard.action(self, e, at)
  local progress = self.progress()
  if e.act == "add" then
    self.entries[#self.entries + 1] = { set = e.set, member = e.member, gone = e.undo, at = at, progress = progress }
  end
  if not e.undo then
    self.acts[#self.acts + 1] = {
      act = e.act, rule = e.rule, key = e.key, text = e.text or e.set and e.set .. " " .. e.member, at = at,
      progress = progress,
    }
  end
end

function heard.emit(self, e, at)
  self.acts[#self.acts + 1] = {
    act = "emit", rule = e.rule, key = e.key, text = e.name, at = at, progress = self.progress(),
  }
end

function heard.budget(self, e, at)
  self:tell(at, ("budget %s  %s"):format(e.what, e.reason))
  self.acts[#self.acts + 1] = { act = "budget", text = e.reason, at = at, progress = self.progress() }
end

function heard.error(self, e, at)
  local place = e.file and ("%s:%s"):format(e.file, e.line and e.line .. ": " or " ") or ""
  local message = place .. (e.message:match "^[^\n]*")
  self:tell(at, "error " .. message)
  self.errors[#self.errors + 1] = { message = message, at = at }
end

function heard.summary(self, e)
  self.packets, self.seconds, self.transitions = e.packets, e.seconds, e.transitions
end

function Story:event(e)
  if e.event == "start" then self.begin = e.time end
  if heard[e.event] then heard[e.event](self, e, (e.time - self.begin) / 1e6) end
  return true
end

function Story.status() return true end

function Story.close() return true end

--- The members of a set as a table: those who entered it in an entry that accept(entry) agrees to, or, with `at`, those
--- who were in it at that moment. Who is in it from the start always is.
function Story:members(set, accept, at)
  local present = {}
  for _, member in ipairs(self.held[set] or {}) do present[member] = true end
  for _, entry in ipairs(self.entries) do
    if entry.set == set then
      if at and entry.at <= at then
        present[entry.member] = not entry.gone or nil
      elseif not at and not entry.gone and accept(entry) then
        present[entry.member] = true
      end
    end
  end
  return present
end

--- What happened, as lines; of very many those in the middle are left out.
function Story:timeline(most)
  if #self.lines <= most then return self.lines end
  local lines, half = {}, math.floor(most / 2)
  for i = 1, half do lines[i] = self.lines[i] end
  lines[half + 1] = ("%9s  … %d more"):format("", #self.lines - 2 * half)
  for i = #self.lines - half + 1, #self.lines do lines[#lines + 1] = self.lines[i] end
  return lines
end

return test_story
