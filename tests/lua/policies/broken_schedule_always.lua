-- SPDX-License-Identifier: Apache-2.0
-- 5: schedule "s" lasts as long as its period, so it never ends (make lasting shorter than every)
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { every = "1h", lasting = "60m", hold = "alert" },
  },
}
