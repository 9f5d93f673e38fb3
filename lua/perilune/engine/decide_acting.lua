-- SPDX-License-Identifier: Apache-2.0
--
-- What follows from the judgement of rules: instances change their states, that is reported, sets and acts follow, and
-- levels are held. For decide.lua and decide_succession.lua; self is a decider, step what a window's tests share.
local instances = require "perilune.engine.instances"
local words = require "perilune.base.words"

local acting = {}

-- Asks a policy's function: its truth, or nil when there is none. One that fails is reported once, and is not called
-- again.
function acting.call(self, step, node, rule, raw)
  if self.failed[node.fn] then return nil end
  local key = rule.grouping and step.text(rule, raw)
  local value, message, again = self.call(node, step.sample.window, key)
  if value ~= nil then return value end
  self.failed[node.fn] = not again or nil
  local kind = again and "again" or "failed"
  if self.reported[node.fn] ~= kind then
    self.reported[node.fn] = kind
    table.insert(step.result.errors, {
      rule = rule.name, message = message, file = node.file, line = node.line,
      hint = again and "no truth and no act of it in this window; it is called again, and this is not reported again"
        or "it is not called again and counts as false until the policy is loaded anew",
    })
  end
end

function acting.name_of(rule, instance)
  return instance.key and rule.name .. " " .. instance.key or rule.name
end

local function values_of(condition, row, env)
  local values = {}
  for _, value in ipairs(condition.values) do values[value.text] = value.get(row, env) end
  return values
end

local function act_add(step, rule, instance, set, now)
  if not set:add(instance.key, instance, now) then return end
  table.insert(step.result.actions,
    { act = "add", set = set.name, member = instance.key, rule = rule.name, key = instance.key,
      undo = false })
end

-- What others than we do, or no longer do, for an instance: the act as declared, and why.
function acting.hand_out(step, rule, instance, what, change, undone)
  table.insert(step.result.actions, {
    act = what.kind, what = what, rule = rule.name, key = instance.key, undo = undone,
    text = what.text or what.kind == "log" and change.reason or nil, reason = change.reason, values = change.values,
  })
end

local function act(self, step, rule, instance, change)
  for _, what in ipairs(rule.decl.act or {}) do
    if what.kind == "add" then
      act_add(step, rule, instance, self.members[what.set], step.env.finish)
    elseif what.kind ~= "call" or acting.call(self, step, what, rule, instance.raw) ~= nil then
      acting.hand_out(step, rule, instance, what, change, false)
    end
  end
end

local function undo(step, rule, instance, change)
  for _, set in ipairs(rule.adds) do
    if set:drop(instance.key, instance) then
      table.insert(step.result.actions,
        { act = "add", set = set.name, member = instance.key, rule = rule.name, key = instance.key,
          undo = true })
    end
  end
  for _, what in ipairs(rule.decl.act or {}) do
    if what.lasts then acting.hand_out(step, rule, instance, what, change, true) end
  end
end

-- Gives an instance its new state, and reports it. change: { instance, state, condition, how, row } or with
-- `why`.
function acting.apply(self, step, rule, change)
  local instance, before = change.instance, change.instance.state
  local env = step.env
  env.rule, env.raw = rule, instance.raw
  if rule.grouping and not instance.key then instance.key = step.text(rule, instance.raw) end
  instance.state = change.state
  local reason = acting.name_of(rule, instance) .. ": "
    .. (change.text or change.condition.say(change.row, env, change.how)) .. (change.within or "")
  local told = {
    rule = rule.name, key = instance.key, state = change.state, reason = reason, why = change.why,
    values = change.condition and values_of(change.condition, change.row, env) or {},
  }
  table.insert(step.result.rules, told)
  if (before == "firing") ~= (change.state == "firing") and rule.decl.hold then self.dirty = true end
  if change.state == "firing" then
    act(self, step, rule, instance, told)
  elseif change.state == "cleared" then
    if before == "firing" then undo(step, rule, instance, told) end
    if before == "firing" or change.why then instance.since = {} end
    instance.state = nil
    if next(instance.since) == nil then instances.forget(rule, instance) end
  end
end

-- What is cleared comes first, as it makes room in sets; then by key.
local function by_state_and_key(a, b)
  local x, y = a.state == "cleared", b.state == "cleared"
  if x ~= y then return x end
  return a.instance.raw < b.instance.raw
end

function acting.apply_all(self, step, rule, changes)
  table.sort(changes, by_state_and_key)
  for _, change in ipairs(changes) do acting.apply(self, step, rule, change) end
end

-- Members whose reason is still seen stay; one that had no room, or ran out of time before, is tried again.
function acting.keep(step, rule, seen)
  if #rule.adds == 0 then return end
  table.sort(seen, function(a, b) return a.raw < b.raw end)
  for _, instance in ipairs(seen) do
    for _, set in ipairs(rule.adds) do
      if not set:renew(instance.key, instance, step.env.finish) then
        act_add(step, rule, instance, set, step.env.finish)
      end
    end
  end
end

function acting.expire(self, step)
  for _, name in ipairs(self.order) do
    for _, member in ipairs(self.members[name]:expire(step.env.finish)) do
      table.insert(step.result.actions,
        { act = "add", set = name, member = member, undo = true, why = "ttl" })
    end
  end
end

-- Level → who holds it, in the order of rules and keys.
function acting.holds_of(self)
  local holds = {}
  for _, rule in ipairs(self.rules) do
    local level = rule.decl.hold
    if level then
      local list = holds[level] or {}
      for _, raw in ipairs(words.keys(rule.instances)) do
        local instance = rule.instances[raw]
        if instance.state == "firing" then list[#list + 1] = acting.name_of(rule, instance) end
      end
      if #list > 0 then holds[level] = list end
    end
  end
  return holds
end

function acting.conclude(self, step)
  if self.dirty then
    self.dirty = false
    self.holds = acting.holds_of(self)
    step.result.holds = self.holds
  end
  return step.result
end

function acting.rule_named(self, name)
  for _, rule in ipairs(self.rules) do
    if rule.name == name then return rule end
  end
end

return acting
