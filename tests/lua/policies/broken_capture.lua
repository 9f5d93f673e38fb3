-- SPDX-License-Identifier: Apache-2.0
-- 5: rule "r": capture: the rule is per src, not sport (like of = "host")
local from = flows "from" { key = "src" }
return policy "p" { always = { from }, rules = {
  rule "r" { per = "from.src", when = rate("from.packets"):above "5/s", act = capture { of = "sport" } },
} }
