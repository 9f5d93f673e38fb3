-- SPDX-License-Identifier: Apache-2.0
-- 4: to.dst is part of the key, not an amount (known: packets, skbs, bytes)
return policy "p" { always = { flows "to" { key = "dst" } }, rules = {
  rule "r" { when = sum("to.dst"):above(5) },
} }
