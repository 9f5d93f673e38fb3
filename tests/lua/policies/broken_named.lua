-- SPDX-License-Identifier: Apache-2.0
-- 6: named takes a text (like :named "openings")
local from = flows "from" { key = "src" }
return policy "p" { always = { from, counter "all" {} }, rules = {
  rule "r" {
    when = rate("all.packets"):named(5):above "5/s" },
} }
