-- SPDX-License-Identifier: Apache-2.0
-- 5: rule "r": add "ports": the set is of dport, the rule is per dst (use another set)
return policy "p" { always = { flows "to" { key = "dst" } },
  sets = { set "ports" { of = "dport", max = 5 } },
  rules = { rule "r" { per = "to.dst", when = rate("to.packets"):above "5/s", act = { add "ports" } } },
}
