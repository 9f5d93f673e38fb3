-- SPDX-License-Identifier: Apache-2.0
-- 3: "base": level: sample is not built yet (leave it out)
return policy "p" { always = { counter "totals" {} }, levels = { level "base" { sample = 10 } } }
