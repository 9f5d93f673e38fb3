-- SPDX-License-Identifier: Apache-2.0
-- 6: there are two of schedule "s" (the first is in line 5)
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { every = "1h", lasting = "5m", hold = "alert" },
    schedule "s" { every = "2h", lasting = "5m", hold = "alert" },
  },
}
