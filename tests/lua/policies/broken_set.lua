-- SPDX-License-Identifier: Apache-2.0
-- 5: rule "r": add "victim": no such set (did you mean "victims"?)
return policy "p" { always = { flows "to" { key = "dst" } },
  sets = { set "victims" { of = "dst", max = 5 } },
  rules = { rule "r" { per = "to.dst", when = rate("to.packets"):above "5/s", act = add "victim" } },
}
