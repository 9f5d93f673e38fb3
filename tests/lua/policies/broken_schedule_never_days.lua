-- SPDX-License-Identifier: Apache-2.0
-- 5: schedule "s": "0 0 * * mon" is never on sat, sun (leave out days)
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { cron = "0 0 * * mon", lasting = "5m", days = { "sat", "sun" }, hold = "alert" },
  },
}
