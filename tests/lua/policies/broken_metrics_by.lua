-- SPDX-License-Identifier: Apache-2.0
-- 4: metrics: by: "dst" is not in the key of flows "from" (known: src)
return policy "p" { always = { flows "from" { key = "src" } },
  exports = { metrics "from" { "packets", by = "dst" } },
}
