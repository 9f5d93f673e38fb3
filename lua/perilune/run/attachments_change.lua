-- SPDX-License-Identifier: Apache-2.0
--
-- Another probe takes the place of the one that is attached, maybe at other hooks and interfaces. For attachments.lua,
-- as one of its jobs.
--
--   attach the new one where the old one is not │ take over where both are to be, each in one step │ detach the old one
--   where the new one is not to be │ let go of interfaces that are not named any more
--
-- Until the taking over, whatever fails leaves everything as it was. A packet is seen by one of the two, or, where only
-- one of them is attached, by that one.
local interfaces = require "perilune.base.interfaces"

local change = {}

local function programs_by_hook(roots)
  local map = {}
  for _, root in ipairs(roots) do map[root.hook] = root.program end
  return map
end

-- What the new probe has to be attached to by itself, in order: list of { link = { index, name }, root }, and links
-- that the old one is not attached to, by index.
local function missing(self, next, matches)
  local before, list, fresh = programs_by_hook(self.roots), {}, {}
  for _, entry in ipairs(self:complete()) do
    for _, root in ipairs(matches(entry.now) and next.roots or {}) do
      local link = { index = entry.index, name = entry.now }
      if not before[root.hook] then list[#list + 1] = { link = link, root = root } end
    end
  end
  for _, link in ipairs(next.interfaces) do
    local entry = self.held[link.index]
    if not (entry and entry.complete) and not fresh[link.index] then
      fresh[link.index] = link
      for _, root in ipairs(next.roots) do list[#list + 1] = { link = link, root = root } end
    end
  end
  return list, fresh
end

-- done(modes: index → hook → mode), or done(nil, message, code)
local function attach_all(next, list, done)
  local modes = {}
  local function one(i)
    local place = list[i]
    if not place then return done(modes) end
    local link, root = place.link, place.root
    local function attached(mode, message, code)
      if not mode then
        return done(nil, ("%s: cannot attach to %s: %s"):format(link.name, root.hook, message), code)
      end
      modes[link.index] = modes[link.index] or {}
      modes[link.index][root.hook] = mode
      one(i + 1)
    end
    local ok, message, code = next.probe:attach({ hook = root.hook, program = root.program, ifindex = link.index,
      iface = link.name, mode = next.attach.mode }, attached)
    if not ok then attached(nil, message, code) end
  end
  one(1)
end

-- Calls a method of a probe's that takes `done` last, and done() when it has come to its end or cannot begin.
local function await(self, done, probe, method, ...)
  local arguments = { ... }
  arguments[#arguments + 1] = function(count, message)
    if not count then self:problem(message) end
    done()
  end
  local ok, message = probe[method](probe, unpack(arguments))
  if not ok then
    self:problem(message)
    done()
  end
end

local function tell(self, entry, event, attachment, why)
  self:tell { event = event, iface = entry.name, hook = attachment.hook, mode = attachment.mode, ifindex = entry.index,
    netns = self.attach.netns, why = why }
end

-- The hooks of an interface that stays: those that are new, and those that are no more.
local function change_hooks(self, entry, modes, before, now)
  local known, attached = {}, {}
  for _, attachment in ipairs(entry.attached) do
    known[attachment.hook] = attachment
    if not now[attachment.hook] then tell(self, entry, "detach", attachment, "the policy is of other hooks now") end
  end
  for i, root in ipairs(self.roots) do
    local mode = modes[entry.index] and modes[entry.index][root.hook]
    attached[i] = before[root.hook] and known[root.hook] or { hook = root.hook, mode = mode }
    if not before[root.hook] then tell(self, entry, "attach", attached[i]) end
  end
  entry.attached = attached
end

-- One after the other: steps, each function(done).
local function sequence(steps, done)
  local function one(i)
    if not steps[i] then return done() end
    steps[i](function() one(i + 1) end)
  end
  one(1)
end

-- The new one's programs run. What is left of the old one is detached, and what nobody names is let go.
local function settle(self, next, modes, fresh, matches, done)
  local old, before, now = self.probe, programs_by_hook(self.roots), programs_by_hook(next.roots)
  self.probe, self.roots, self.attach, self.matches = next.probe, next.roots, next.attach, matches
  local steps = { function(over) await(self, over, old, "detach") end }
  for _, entry in ipairs(self:complete()) do
    if matches(entry.now) then
      change_hooks(self, entry, modes, before, now)
    else
      steps[#steps + 1] = function(over) self:let_go(entry, "the policy does not name it any more", over) end
    end
  end
  for _, link in ipairs(next.interfaces) do
    if fresh[link.index] then
      fresh[link.index] = nil -- it may be named twice
      local entry = self.held[link.index] or self:hold(link)
      entry.name, entry.complete, self.order = link.name, true, self.order + 1
      entry.order = self.order
      change_hooks(self, entry, modes, {}, now)
    end
  end
  for _, entry in pairs(self.held) do
    if not entry.complete then
      entry.tried = nil -- with the new one it may be another matter
      self:settle(entry)
    end
  end
  sequence(steps, done)
end

--- self: attachments.lua's. next, done: as Attachments:take_over.
function change.start(self, next, done)
  local matches = interfaces.matcher(next.attach.iface)
  local list, fresh = missing(self, next, matches)
  local netns = next.attach.netns
  if netns and #list > 0 then
    local ok, message, code = next.probe:netns(netns)
    if not ok then return done(nil, message, code) end
  end
  attach_all(next, list, function(modes, message, code)
    local function failed(why, failure)
      await(self, function() done(nil, why, failure) end, next.probe, "detach")
    end
    if not modes then return failed(message, code) end
    local before, programs = programs_by_hook(self.roots), {}
    for _, root in ipairs(next.roots) do programs[root.hook] = before[root.hook] and root.program end
    local function taken(ok, why, failure)
      if not ok then return failed(why, failure) end
      settle(self, next, modes, fresh, matches, function() done(true) end)
    end
    local ok, why, failure = next.probe:take_over(self.probe, programs, taken)
    if not ok then taken(nil, why, failure) end
  end)
end

return change
