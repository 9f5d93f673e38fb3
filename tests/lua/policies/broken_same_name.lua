-- SPDX-License-Identifier: Apache-2.0
-- 5: two different probes are named "to" (the first is in line 4: use that one in both places, or another name)
return policy "p" { levels = {
  level "calm" { flows "to" { key = "dst" } },
  level "alert" { flows "to" { key = "dst" } },
} }
