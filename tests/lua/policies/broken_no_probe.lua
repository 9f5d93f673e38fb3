-- SPDX-License-Identifier: Apache-2.0
-- 3: the policy has no probe, so there is nothing to watch (write always = { counter "totals" {} })
return policy "p" { levels = { level "calm" {} } }
