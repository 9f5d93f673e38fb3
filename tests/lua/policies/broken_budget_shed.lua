-- SPDX-License-Identifier: Apache-2.0
-- 3: budget: shed: there is no probe "totls" (did you mean "totals"?)
return policy "p" { always = { counter "totals" {} }, budget = { cost = "150ns/packet", shed = { "totls" } } }
