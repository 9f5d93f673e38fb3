-- SPDX-License-Identifier: Apache-2.0
-- 6: entropy takes the text "probe.field", got "from" (like entropy "totals.packets")
local from = flows "from" { key = "src" }
return policy "p" { always = { from, counter "all" {} }, rules = {
  rule "r" {
    when = entropy("from"):above(3) },
} }
