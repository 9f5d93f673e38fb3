-- SPDX-License-Identifier: Apache-2.0
-- 3: budget: there is nothing to give up: no probe is sampled, none may be shed, and there is one level (write sample = "auto" in a probe, or shed = { … })
return policy "p" { always = { counter "totals" {} }, budget = { cpu = "2%" } }
