-- SPDX-License-Identifier: Apache-2.0
-- 4: counter "totals" has no rows, so there is no count of them (use a flows probe)
return policy "p" { always = { counter "totals" {} }, rules = {
  rule "r" { when = count("totals"):above(5) },
} }
