-- SPDX-License-Identifier: Apache-2.0
-- 4: level "calm" is the base, which others fall back to: it has no end (leave out lease and longest)
return policy "p" { always = { counter {} }, levels = {
  level "calm" { longest = "10m" },
} }
