-- SPDX-License-Identifier: Apache-2.0
-- 6: baseline: expected a duration, got "weekly" (write it like "10s")
local from = flows "from" { key = "src" }
return policy "p" { always = { from, counter "all" {} }, rules = {
  rule "r" {
    when = rate("all.packets"):above(rate("all.packets"):baseline "weekly") },
} }
