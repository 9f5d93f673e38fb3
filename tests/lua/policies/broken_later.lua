-- SPDX-License-Identifier: Apache-2.0
-- 4: "r": rule: trigger is not built yet (leave it out)
return policy "p" { always = { counter "totals" {} }, rules = {
  rule "r" { when = rate("totals.packets"):above "5/s", trigger = "50ms" },
} }
