-- SPDX-License-Identifier: Apache-2.0
-- 3: limits: total: 50ms is less than the 100ms of one call (raise total or lower time)
return policy "p" { limits = { time = "100ms", total = "50ms" }, always = { counter {} } }
