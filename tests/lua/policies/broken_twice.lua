-- SPDX-License-Identifier: Apache-2.0
-- 5: there are two of level "calm" (the first is in line 4)
return policy "p" { always = { counter {} }, levels = {
  level "calm" {},
  level "calm" {},
} }
