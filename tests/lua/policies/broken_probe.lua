-- SPDX-License-Identifier: Apache-2.0
-- 4: no level and no "always" has a probe "total" (did you mean "totals"?)
return policy "p" { always = { counter "totals" {} }, rules = {
  rule "r" { when = rate("total.packets"):above "5/s" },
} }
