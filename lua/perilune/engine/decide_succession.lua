-- SPDX-License-Identifier: Apache-2.0
--
-- How a decider ends, and how another declaration's goes on in its place. For decide.lua, whose methods these are.
local acting = require "perilune.engine.decide_acting"
local words = require "perilune.base.words"

local Decide = {}

-- Another declaration takes the place of this one, and only the rules in `kept` (a set of names) go on in it: what has
-- become of the others is over. Returns what step returns, and whether any of them held a level.
function Decide:abandon(kept)
  local step, changes, held = { result = { rules = {}, actions = {}, errors = {} }, env = {} }, {}, false
  for _, rule in ipairs(self.rules) do
    local remembered = not kept[rule.name] and rule.instances or {}
    for _, raw in ipairs(words.keys(remembered)) do
      local instance = remembered[raw]
      if instance.state then
        held = held or instance.state == "firing" and rule.decl.hold ~= nil
        changes[#changes + 1] = { instance = instance, state = "cleared", why = "reload",
          text = "the policy was loaded anew, and this rule is another or gone" }
      end
    end
    acting.apply_all(self, step, rule, changes)
    changes = {}
    if not kept[rule.name] then rule.instances, rule.count = {}, 0 end
  end
  return acting.conclude(self, step), held
end

-- Takes over, from another declaration's, the instances of rules, the members of sets and the series of measures that
-- mean the same (sameness.lua): what fires goes on, with its timers. The other has them no more.
function Decide:inherit(old, same)
  local owners = {}
  for _, rule in ipairs(self.rules) do
    if same.rules[rule.name] then
      local before = acting.rule_named(old, rule.name)
      rule.instances, rule.count, rule.overflow = before.instances, before.count, before.overflow
      before.instances, before.count = {}, 0
      for _, instance in pairs(rule.instances) do owners[instance] = true end
    end
  end
  for name in pairs(same.sets) do self.members[name]:inherit(old.members[name], owners) end
  self.history:inherit(old.history, same)
  self.holds = acting.holds_of(self)
end

-- The end: takes back what lasts of every instance that fires, and those in sets that others may see. Returns a list
-- of actions.
function Decide:release(why)
  local step = { result = { actions = {} } }
  for _, rule in ipairs(self.rules) do
    for _, raw in ipairs(words.keys(rule.instances)) do
      local instance = rule.instances[raw]
      local told = { reason = acting.name_of(rule, instance) .. ": " .. why, values = {} }
      for _, what in ipairs(instance.state == "firing" and rule.decl.act or {}) do
        if what.lasts then acting.hand_out(step, rule, instance, what, told, true) end
      end
    end
  end
  for _, set in ipairs(self.sets_of) do
    for _, member in ipairs(set.export and not set.keep and self.members[set.name]:list() or {}) do
      table.insert(step.result.actions,
        { act = "add", set = set.name, member = member.member, undo = true, why = "exit" })
    end
  end
  return step.result.actions
end

return Decide
