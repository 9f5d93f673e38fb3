-- SPDX-License-Identifier: Apache-2.0
-- 5: schedule "s" holds "calm", which is in force anyway (hold a deeper level, or cap at it)
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { every = "1h", lasting = "5m", hold = "calm" },
  },
}
