-- SPDX-License-Identifier: Apache-2.0
-- 3: policy: window: expected a duration, got "5k/s", which is a rate (write it like "10s")
return policy "p" { window = "5k/s", always = { counter {} } }
