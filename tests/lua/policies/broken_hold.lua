-- SPDX-License-Identifier: Apache-2.0
-- 5: rule "r" holds the unknown level "alart" (did you mean "alert"?)
local busy, idle = rate("totals.packets"):above "5/s", rate("totals.packets"):below "1/s"
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  rules = { rule "r" { when = busy, clear = idle, hold = "alart" } },
}
