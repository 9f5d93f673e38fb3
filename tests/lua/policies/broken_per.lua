-- SPDX-License-Identifier: Apache-2.0
-- 4: rule "r": per: "src" is not in the key of flows "to" (known: dst)
return policy "p" { always = { flows "to" { key = "dst" } },
  rules = { rule "r" { per = "to.src", when = rate("to.packets"):above "5/s" } },
}
