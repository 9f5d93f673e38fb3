-- SPDX-License-Identifier: Apache-2.0
-- 6: rule "r" holds a level and lacks clear (like clear = …:below("500/s"):lasting "10s")
return policy "p" {
  always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  rules = {
    rule "r" { when = rate("totals.packets"):above "5/s", hold = "alert" },
  },
}
