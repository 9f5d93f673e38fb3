-- SPDX-License-Identifier: Apache-2.0
-- 5: rule "r": capture: no set "atackers" (did you mean "attackers"?)
local from = flows "from" { key = "src" }
return policy "p" { always = { from }, sets = { set "attackers" { of = "src", max = 10 } }, rules = {
  rule "r" { when = rate("from.packets"):above "5/s", act = capture { set = "atackers" } },
} }
