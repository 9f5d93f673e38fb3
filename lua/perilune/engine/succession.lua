-- SPDX-License-Identifier: Apache-2.0
--
-- What goes on when the engine is another: of another declaration of the policy, which takes the place of this one in
-- the same run (reload.lua), or of another run (kept.lua). For engine.lua, whose methods these are.
local Engine = {}

--- How much the probes are to look at when this takes the place of another declaration's engine.
function Engine:foresee(old, same)
  self.thrift:inherit(old.thrift, same.probes)
  return self:spare()
end

--- Another declaration's engine takes the place of this one (inherit). Returns what has become of those who do not go
--- on (`same`: see sameness.lua), for told_of.
function Engine:abandon(same)
  local result, held = self.decide:abandon(same.rules)
  return { result = result, held = held }
end

function Engine:told_of(abandoned, time) self:emit_decisions(abandoned.result, self.current, time) end

--- Goes on where another declaration's engine of the same run has come to, with what means the same in both (`same`):
--- numbers and totals, instances, members, measures of windows past, state, the level in force, a person's pin. If a
--- rule that is another now held the level (`abandoned`: of the other's abandon()), it stays until the rules here have
--- been judged once. Returns whether the level is the same.
function Engine:inherit(old, same, abandoned)
  for _, name in ipairs {
    "seq", "windows", "transitions", "seconds", "totals", "loss", "not_parsed_by", "flawed_by",
  } do
    self[name] = old[name]
  end
  for direction, counts in pairs(old.directions) do self.directions[direction] = counts end
  self.decide:inherit(old.decide, same)
  self.past:inherit(old.past, same.probes)
  if self.state and old.state then self.state:take(old.state:export()) end
  for _, set in ipairs(self.decl.sets or {}) do
    for _, member in ipairs(self.scoped[set.name] and self.decide:sets()[set.name] or {}) do
      self.scope(set.name, member.member, true)
    end
  end
  local in_force = old:level().name
  self.seen:inherit(old.seen, in_force)
  local kept = self.levels:inherit(old.levels, self.decide.holds, { "operator" })
  if kept and abandoned.held then self.levels:claim("reload", { hold = in_force }) end
  self.held_over = kept and abandoned.held
  return kept
end

-- Rules have a window to be judged by: a level that was held over waits for nobody else.
function Engine:end_hold_over(closed, wall)
  if not self.held_over or not closed.decisive then return end
  self.held_over = false
  local claim = { why = "the rule that held it before the reload is another or gone" }
  if self.levels:claim("reload", claim) and self.audit then self.audit:claimed("reload", claim, false, wall) end
end

-- What tells that a probe counts the same as before.
local function probe_signatures(probes)
  local out = {}
  for _, probe in ipairs(probes) do
    out[probe.name] = ("%s %s (%s) %s %s"):format(probe.template, probe.name, table.concat(probe.key or {}, ","),
      probe.filter or "", probe.scope or "") .. (probe.code and " " .. probe.code.mark or "")
  end
  return out
end

--- What outlives a run (kept.lua), as plain data, and whether the policy has any.
function Engine:kept()
  local learnt, any = self.decide:learnt(probe_signatures(self.decl.probes))
  return { history = learnt, state = self.state and self.state:export() }, any or self.state ~= nil
end

--- Takes what kept() gave in an earlier run. wall: now, seconds since the epoch. Returns how many series were taken,
--- and the names of those that do not fit.
function Engine:restore(data, wall)
  if self.state and type(data.state) == "table" then self.state:take(data.state) end
  return self.decide:relearn(type(data.history) == "table" and data.history or {}, probe_signatures(self.decl.probes),
    wall)
end

return Engine
