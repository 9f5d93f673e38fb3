-- SPDX-License-Identifier: Apache-2.0
--
-- Who, besides the rules, holds or caps a level: schedules, the budget, people. Pure: each puts what it wants under
-- its own name, and the engine merges it with what the rules hold.
--
--   claims:put("budget", { cap = "alert", why = "180 ns a packet", values = { cost = 180 } })
--   claims:put("pin", { hold = "siege", cap = "siege", expires = now + 600 })
--   claims:put("budget", { why = "there is room again" })        -- neither hold nor cap: withdrawn
--
-- A claim: hold, cap (names of levels), expires (seconds; ends by itself), cut (what a window that ends for it is
-- said to be cut by, "level" when nil), why (text), values (name → number): what is said of a change that it
-- decides.

local words = require "perilune.base.words"

local claims = {}
local Claims = {}
Claims.__index = Claims

-- levels: list of { name }.
function claims.new(levels)
  local known = {}
  for _, level in ipairs(levels) do known[level.name] = true end
  return setmetatable({ known = known, by_name = {}, changed = {} }, Claims)
end

function Claims:knows(level) return self.known[level] == true end

-- Returns true when holds or caps are other than before.
function Claims:put(who, claim)
  for _, kind in ipairs { "hold", "cap" } do
    local level = claim[kind]
    if level and not self.known[level] then error(("claims: %s: no level %s"):format(who, tostring(level)), 2) end
  end
  local before = self.by_name[who] or {}
  local stands = claim.hold or claim.cap
  if not stands and not self.by_name[who] then return false end
  self.by_name[who] = stands and claim or nil
  if before.hold == claim.hold and before.cap == claim.cap then return false end
  self.changed[who] = claim
  return true
end

-- Ends what is over. Returns true when something was.
function Claims:expire(now)
  local any = false
  for _, who in ipairs(words.keys(self.by_name)) do
    local claim = self.by_name[who]
    if claim.expires and claim.expires <= now then
      any = self:put(who, { cut = claim.cut, why = who .. " has ended" }) or any
    end
  end
  return any
end

-- When the next claim ends by itself, in seconds; nil when none does.
function Claims:due()
  local due
  for _, claim in pairs(self.by_name) do
    if claim.expires and (not due or claim.expires < due) then due = claim.expires end
  end
  return due
end

local function copy(list)
  local copied = {}
  for i, name in ipairs(list) do copied[i] = name end
  return copied
end

-- What rules hold (level → list of holders, which is left as it is) together with the claims: holds, caps.
function Claims:merge(rules)
  local holds, caps = {}, {}
  for level, list in pairs(rules) do holds[level] = list end
  for _, who in ipairs(words.keys(self.by_name)) do
    local claim = self.by_name[who]
    if claim.hold then
      local list = holds[claim.hold] or {}
      if list == rules[claim.hold] then list = copy(list) end
      list[#list + 1] = who
      holds[claim.hold] = list
    end
    if claim.cap then
      caps[claim.cap] = caps[claim.cap] or {}
      table.insert(caps[claim.cap], who)
    end
  end
  return holds, caps
end

-- Whether somebody of this name claims something, and what.
function Claims:get(who) return self.by_name[who] end

-- What has changed since the last call: list of { who, claim }, by name. A claim without hold and cap was
-- withdrawn.
function Claims:news()
  local list = {}
  for i, who in ipairs(words.keys(self.changed)) do list[i] = { who = who, claim = self.changed[who] } end
  self.changed = {}
  return list
end

-- All of them, by name: list of { who, hold, cap, expires, why }.
function Claims:list()
  local list = {}
  for i, who in ipairs(words.keys(self.by_name)) do
    local claim = self.by_name[who]
    list[i] = { who = who, hold = claim.hold, cap = claim.cap, expires = claim.expires, why = claim.why }
  end
  return list
end

return claims
