-- SPDX-License-Identifier: Apache-2.0
-- 4: records: probe "to" has no field "sin" (known: packets, skbs, bytes)
return policy "p" { always = { flows "to" { key = "dst" } },
  exports = { records "to" { top = { 100, "sin" } } },
}
