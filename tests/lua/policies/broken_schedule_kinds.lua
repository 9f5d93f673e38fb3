-- SPDX-License-Identifier: Apache-2.0
-- 5: schedule "s" has both every and cron (leave one of them out)
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { every = "1h", cron = "* * * * *", lasting = "5s", hold = "alert" },
  },
}
