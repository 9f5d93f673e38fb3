-- SPDX-License-Identifier: Apache-2.0
-- 6: ewma: expected a duration (like :ewma "1m")
local from = flows "from" { key = "src" }
return policy "p" { always = { from, counter "all" {} }, rules = {
  rule "r" {
    when = rate("all.packets"):ewma():above "5/s" },
} }
