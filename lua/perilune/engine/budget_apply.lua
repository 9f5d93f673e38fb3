-- SPDX-License-Identifier: Apache-2.0
-- Between a budget and the engine of its policy: what the live meter and a replay's have in common.
local budget = require "perilune.engine.budget"

local budget_apply = {}

--- A declaration's budget.
function budget_apply.new(decl)
  local thin = {}
  for _, probe in ipairs(decl.probes) do
    if probe.halvings > 0 then thin[probe.name] = probe.halvings end
  end
  return budget.new { cost = decl.budget.cost, cpu = decl.budget.cpu, shed = decl.budget.shed, levels = decl.levels,
    thin = thin }
end

--- Tells and does what a sample has led to: `out`, as Budget:sample gives it.
function budget_apply.follow(self, out, engine, emit)
  local reason
  for _, event in ipairs(out.events) do
    reason = event.reason
    event.seq = engine.current.seq
    emit(event)
  end
  if not out.changed then return end
  engine:give(self.thin, self:shed_list(), self.cap and self.levels[self.cap].name, reason)
end

return budget_apply
