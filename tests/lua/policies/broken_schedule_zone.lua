-- SPDX-License-Identifier: Apache-2.0
-- 5: "night": schedule: zone: there is no time zone "Europe/Berln" (like zone = "Europe/Berlin")
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "night" { between = { "22:00", "06:00" }, zone = "Europe/Berln", hold = "alert" },
  },
}
