-- SPDX-License-Identifier: Apache-2.0
-- 4: probe "totals" has no field "packet" (did you mean "packets"?)
return policy "p" { always = { counter "totals" {} }, rules = {
  rule "r" { when = rate("totals.packet"):above "5/s" },
} }
