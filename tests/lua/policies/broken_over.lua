-- SPDX-License-Identifier: Apache-2.0
-- 6: over: expected a duration, got "a minute" (write it like "10s")
local from = flows "from" { key = "src" }
return policy "p" { always = { from, counter "all" {} }, rules = {
  rule "r" {
    when = rate("all.packets"):over("a minute"):above "5/s" },
} }
