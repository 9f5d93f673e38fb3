-- SPDX-License-Identifier: Apache-2.0
--
-- What rules, sets and levels remember between two windows, as plain data: every file of an audit log begins with
-- it, so that each can be evaluated again by itself.

local words = require "perilune.base.words"

local audit_state = {}

function audit_state.hex(raw)
  return (raw:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

--- Raises an error for what is not hexadecimal.
function audit_state.raw(hex)
  if type(hex) ~= "string" or #hex % 2 ~= 0 or hex:find "%X" then error("not hexadecimal", 0) end
  return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local hex = audit_state.hex

local function texts(map)
  local out = {}
  for key, value in pairs(map) do out[tostring(key)] = value end
  return out
end

local function numbers(map)
  local out = {}
  for key, value in pairs(map) do out[tonumber(key)] = value end
  return out
end

local function instances_of(decider)
  local list = {}
  for _, rule in ipairs(decider.rules) do
    for _, raw in ipairs(words.keys(rule.instances)) do
      local instance = rule.instances[raw]
      list[#list + 1] = {
        rule = rule.name, raw = hex(raw), key = instance.key, state = instance.state, since = texts(instance.since),
        values = instance.inputs or {},
      }
    end
  end
  return list
end

-- Which instances own a member, by rule and key.
local function owners_of(decider)
  local names = {}
  for _, rule in ipairs(decider.rules) do
    for raw, instance in pairs(rule.instances) do names[instance] = { rule = rule.name, raw = hex(raw) } end
  end
  return function(member)
    local list = {}
    for owner in pairs(member.owners) do list[#list + 1] = names[owner] end
    table.sort(list, function(a, b) return a.rule .. a.raw < b.rule .. b.raw end)
    return list
  end
end

local function members_of(decider)
  local list, owners = {}, owners_of(decider)
  for _, name in ipairs(decider.order) do
    local set = decider.members[name]
    for _, text in ipairs(words.keys(set.by_text)) do
      local member = set.by_text[text]
      list[#list + 1] = { set = name, member = text, since = member.since, expires = member.expires,
        owners = owners(member) }
    end
  end
  return list
end

local function claims_of(map)
  local list = {}
  for i, who in ipairs(words.keys(map)) do
    local claim = map[who]
    list[i] = { who = who, hold = claim.hold, cap = claim.cap, expires = claim.expires, cut = claim.cut,
      why = claim.why, values = claim.values }
  end
  return list
end

--- Of a decide.lua and a levels.lua that have nothing left to tell.
function audit_state.take(decider, levels)
  local ladder, barred = levels.ladder, {}
  for index, waiting in pairs(ladder.barred) do barred[tostring(index)] = words.keys(waiting) end
  return {
    instances = instances_of(decider), members = members_of(decider),
    ladder = { current = ladder.current, entered = ladder.entered, barred = barred, capped = ladder.capped },
    held = levels.held, claims = claims_of(levels.claims.by_name), changed = claims_of(levels.claims.changed),
  }
end

local function put_instances(decider, list, known)
  local rules = {}
  for _, rule in ipairs(decider.rules) do rules[rule.name] = rule end
  for _, one in ipairs(list) do
    local rule, raw = rules[one.rule], audit_state.raw(one.raw)
    local instance = { raw = raw, key = one.key, state = one.state, since = numbers(one.since) }
    rule.instances[raw] = instance
    rule.count = rule.count + 1
    known(one, raw)
  end
  return rules
end

local function put_members(decider, rules, list)
  for _, one in ipairs(list) do
    local set = decider.members[one.set]
    local member = set.by_text[one.member]
    if not member then
      member = { member = one.member, since = one.since, expires = one.expires, owners = {} }
      set.by_text[one.member] = member
      set.count = set.count + 1
    end
    for _, owner in ipairs(one.owners) do
      local instance = rules[owner.rule].instances[audit_state.raw(owner.raw)]
      if instance then member.owners[instance] = true end
    end
  end
end

local function claims_from(list)
  local map = {}
  for _, one in ipairs(list) do map[one.who] = one end
  return map
end

--- Puts it into fresh ones. known(instance as data, its raw key) hears of every instance.
function audit_state.put(decider, levels, state, known)
  local rules = put_instances(decider, state.instances, known)
  put_members(decider, rules, state.members)
  local ladder = levels.ladder
  ladder.current, ladder.entered, ladder.capped = state.ladder.current, state.ladder.entered, state.ladder.capped
  for index, waiting in pairs(state.ladder.barred) do
    ladder.barred[tonumber(index)] = {}
    for _, who in ipairs(waiting) do ladder.barred[tonumber(index)][who] = true end
  end
  levels.held, decider.holds = state.held, state.held
  levels.claims.by_name, levels.claims.changed = claims_from(state.claims), claims_from(state.changed)
end

return audit_state
