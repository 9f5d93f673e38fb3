-- SPDX-License-Identifier: Apache-2.0
-- 5: schedule "s" lacks lasting (how long it lasts each time, like lasting = "5m")
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { cron = "@daily", hold = "alert" },
  },
}
