-- SPDX-License-Identifier: Apache-2.0
-- 4: rate totals.packets is a rate and cannot be compared with 5,000, which is a count (write it like "2k/s")
return policy "p" { always = { counter "totals" {} }, rules = {
  rule "r" { when = rate("totals.packets"):above(5000) },
} }
