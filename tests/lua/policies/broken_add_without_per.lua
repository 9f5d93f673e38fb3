-- SPDX-License-Identifier: Apache-2.0
-- 5: rule "r": add "victims": there is no member to add (write per = "probe.field")
return policy "p" { always = { flows "to" { key = "dst" } },
  sets = { set "victims" { of = "dst", max = 5 } },
  rules = { rule "r" { when = rate("to.packets"):above "5/s", act = { add "victims" } } },
}
