-- SPDX-License-Identifier: Apache-2.0
-- 5: "s": schedule: cron: minute: "61" is no minute (minute is 0 to 59)
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { cron = "61 * * * *", lasting = "5m", hold = "alert" },
  },
}
