-- SPDX-License-Identifier: Apache-2.0
-- 5: schedule "s" holds the unknown level "alart" (did you mean "alert"?)
return policy "p" { always = { counter "totals" {} }, levels = { level "calm" {}, level "alert" {} },
  schedules = {
    schedule "s" { every = "1h", lasting = "5m", hold = "alart" },
  },
}
