-- SPDX-License-Identifier: Apache-2.0
-- 3: "base": level has no key "sample" (known: lease, longest, window)
return policy "p" { always = { counter "totals" {} }, levels = { level "base" { sample = 10 } } }
