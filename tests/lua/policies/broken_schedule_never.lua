-- SPDX-License-Identifier: Apache-2.0
-- 5: "s": schedule: cron: "0 0 30 2 *" is never: there is no such day (is it a day that the month has?)
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { cron = "0 0 30 2 *", lasting = "5m", hold = "alert" },
  },
}
