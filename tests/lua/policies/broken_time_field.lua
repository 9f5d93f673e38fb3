-- SPDX-License-Identifier: Apache-2.0
-- 4: to.first cannot be measured: it is a time, not an amount (known: packets, skbs, bytes)
return policy "p" { always = { flows "to" { features = { "timing" } } }, rules = {
  rule "r" { when = sum("to.first"):above(5) },
} }
