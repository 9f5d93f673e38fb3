-- SPDX-License-Identifier: Apache-2.0
--
-- The instances of one rule: which keys give reason to be remembered, and what a window makes of each.
-- Nothing is reported or done here; a list of changes comes out.
--
-- A rule: when, clear (compiled conditions), grouping, instances (raw key → { raw, key, state, since }),
-- count, overflow. A state is nil (only a timer runs), "pending" or "firing".

local evaluate = require "perilune.engine.evaluate"
local words = require "perilune.base.words"

local instances = {}

local NO, YES = evaluate.NO, evaluate.YES

-- The instance gives no more reason to be remembered.
function instances.forget(rule, instance)
  rule.instances[instance.raw] = nil
  rule.count = rule.count - 1
end

-- One known instance in this window. Appends to `changes`, or to `seen` when it fires on and its reason still
-- holds.
local function judge_one(rule, instance, row, env, changes, seen)
  env.rule, env.raw = rule, instance.raw
  local when, clear = rule.when, rule.clear
  local now = when.test(row, env, instance)
  local over = instance.state == "firing" and clear and clear.test(row, env, instance)
  if env.notice then env.notice(rule, instance, row, now, over) end
  if instance.state == "firing" then
    if over == YES then
      changes[#changes + 1] = { instance = instance, state = "cleared", condition = clear, how = "yes",
        row = row }
    elseif not clear and now ~= YES then
      changes[#changes + 1] = { instance = instance, state = "cleared", condition = when, how = "no",
        row = row }
    elseif now == YES then
      seen[#seen + 1] = instance
    end
  elseif now == YES then
    changes[#changes + 1] = { instance = instance, state = "firing", condition = when, how = "yes",
      row = row }
  elseif now ~= NO then
    if instance.state ~= "pending" then
      changes[#changes + 1] = { instance = instance, state = "pending", condition = when, how = "soon",
        row = row }
    end
  elseif instance.state == "pending" then
    changes[#changes + 1] = { instance = instance, state = "cleared", condition = when, how = "no",
      row = row }
  elseif next(instance.since) == nil then
    instances.forget(rule, instance)
  end
end

-- Keys that give a first reason to be remembered, as instances, in the order of their bytes.
local function newcomers(rule, rows, env)
  local remembered, test, fresh = rule.instances, rule.when.test, {}
  local scratch = { since = {} }
  local keys, list = rows.keys, rows.rows
  if rule.calls then -- a policy's own function is called in an order that can be relied on
    keys, list = words.keys(rows.by_key), {}
    for i, raw in ipairs(keys) do list[i] = rows.by_key[raw] end
  end
  env.rule = rule
  for i = 1, rows.n do
    local raw = keys[i]
    if not remembered[raw] then
      env.raw = raw
      local result = test(list[i], env, scratch)
      if result ~= NO or next(scratch.since) ~= nil then
        scratch.raw, scratch.row, scratch.result = raw, list[i], result
        fresh[#fresh + 1] = scratch
        scratch = { since = {} }
      end
    end
  end
  table.sort(fresh, function(a, b) return a.raw < b.raw end)
  return fresh
end

local function admit(rule, fresh, env, most, changes)
  local when = rule.when
  for _, instance in ipairs(fresh) do
    if rule.count >= most then
      rule.overflow = rule.overflow + 1
    else
      rule.instances[instance.raw] = instance
      rule.count = rule.count + 1
      env.raw = instance.raw
      if env.notice then env.notice(rule, instance, instance.row, instance.result, false) end
      if instance.result ~= NO then
        local firing = instance.result == YES
        changes[#changes + 1] = {
          instance = instance, state = firing and "firing" or "pending", condition = when,
          how = firing and "yes" or "soon", row = instance.row,
        }
      end
    end
    instance.row, instance.result = nil, nil
  end
end

-- Judges every instance and every key of a window. rows: { by_key, keys, rows, n }; most: how many instances there
-- may be. Returns the changes, and appends to `seen` the instances that fire on and whose reason still holds.
-- env.notice(rule, instance, row, when, clear), if it is there, hears of every instance that is remembered and of
-- what its conditions came to (clear: false when it was not asked).
function instances.judge(rule, rows, env, most, seen)
  local changes, zero = {}, rule.grouping and rule.grouping.zero
  local fresh = newcomers(rule, rows, env)
  if rule.calls then
    for _, raw in ipairs(words.keys(rule.instances)) do
      judge_one(rule, rule.instances[raw], rows.by_key[raw] or zero, env, changes, seen)
    end
  else
    for raw, instance in pairs(rule.instances) do
      judge_one(rule, instance, rows.by_key[raw] or zero, env, changes, seen)
    end
  end
  admit(rule, fresh, env, most, changes)
  return changes
end

return instances
