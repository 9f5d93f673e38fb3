-- SPDX-License-Identifier: Apache-2.0
--
-- The members of one set of a policy: bounded, each with the time it entered and the time it leaves by
-- itself.
--
-- Several rule instances may want the same member; it stays until the last of them lets go, or until nobody
-- has seen a reason for it during `ttl`.

local words = require "perilune.base.words"

local members = {}
local Members = {}
Members.__index = Members

-- decl: { name, max, ttl (seconds) or nil }.
function members.new(decl)
  return setmetatable({ name = decl.name, max = decl.max, ttl = decl.ttl, by_text = {}, count = 0,
    held = 0, overflow = 0 }, Members)
end

-- An owner (any value) wants a member from `now` on. Returns true when it is new; nil when it was there or
-- has no room.
function Members:add(text, owner, now)
  local member = self.by_text[text]
  local new = not member
  if new then
    if self.count >= self.max then
      self.overflow = self.overflow + 1
      return nil
    end
    member = { member = text, since = now, owners = {} }
    self.by_text[text] = member
    self.count = self.count + 1
  end
  member.owners[owner] = true
  if self.ttl and not member.held then member.expires = now + self.ttl end
  return new or nil
end

-- Somebody who is in the set for good, whatever `ttl` is.
function Members:hold(text)
  self:add(text, self, 0)
  self.by_text[text].expires = nil
  self.by_text[text].held = true
  self.held = self.held + 1
end

-- The reason for a member is still seen. Returns false when it is not in the set.
function Members:renew(text, owner, now)
  local member = self.by_text[text]
  if not member or not member.owners[owner] then return false end
  if self.ttl and not member.held then member.expires = now + self.ttl end
  return true
end

-- Takes over the members of another set of this kind whose owners are among those given, in order of age, with the time
-- that they have left.
function Members:inherit(old, owners)
  local list = {}
  for _, member in pairs(old.by_text) do list[#list + 1] = member end
  table.sort(list, function(a, b)
    if a.since ~= b.since then return a.since < b.since end
    return a.member < b.member
  end)
  for _, member in ipairs(list) do
    for owner in pairs(member.owners) do
      if owners[owner] then
        self:add(member.member, owner, member.since)
        local taken = self.by_text[member.member]
        if taken and not taken.held then taken.expires = self.ttl and member.expires or nil end
      end
    end
  end
end

local function forget(self, text)
  self.by_text[text] = nil
  self.count = self.count - 1
end

-- An owner lets go. Returns true when the member has left the set.
function Members:drop(text, owner)
  local member = self.by_text[text]
  if not member or not member.owners[owner] then return false end
  member.owners[owner] = nil
  if next(member.owners) ~= nil then return false end
  forget(self, text)
  return true
end

-- Members whose time is over leave. Returns their texts, sorted.
function Members:expire(now)
  local gone = {}
  if not self.ttl then return gone end
  for text, member in pairs(self.by_text) do
    if member.expires and member.expires <= now then gone[#gone + 1] = text end
  end
  table.sort(gone)
  for _, text in ipairs(gone) do forget(self, text) end
  return gone
end

-- { member, since, expires } of each, sorted by text.
function Members:list()
  local list = {}
  for i, text in ipairs(words.keys(self.by_text)) do
    local member = self.by_text[text]
    list[i] = { member = text, since = member.since, expires = member.expires }
  end
  return list
end

return members
