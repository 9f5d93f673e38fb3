-- SPDX-License-Identifier: Apache-2.0
-- 3: budget: cost: expected a cost a packet, got "150ns" (write it like "150ns/packet")
return policy "p" { always = { counter "totals" {} }, budget = { cost = "150ns" } }
