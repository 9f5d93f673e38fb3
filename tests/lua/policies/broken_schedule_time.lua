-- SPDX-License-Identifier: Apache-2.0
-- 5: "s": schedule: between: "25:00" is no time of the day (like between = { "22:00", "06:00" })
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { between = { "25:00", "06:00" }, hold = "alert" },
  },
}
