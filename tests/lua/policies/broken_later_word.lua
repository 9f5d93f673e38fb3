-- SPDX-License-Identifier: Apache-2.0
-- 4: metrics is not built yet (leave it out)
return policy "p" { always = { counter "totals" {} },
  exports = { metrics "totals" { "packets" } },
}
