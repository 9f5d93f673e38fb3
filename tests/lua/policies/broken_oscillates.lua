-- SPDX-License-Identifier: Apache-2.0
-- 6: rule "r" holds level "siege", where its probe "to" does not run: it would clear at once (add to to the level)
local to = flows "to" {}
local busy, idle = rate("to.packets"):above "5/s", rate("to.packets"):below "1/s"
return policy "p" { levels = { level "calm" {}, level "alert" { to }, level "siege" {} },
  rules = { rule "r" { when = busy, clear = idle, hold = "siege" } },
}
