-- SPDX-License-Identifier: Apache-2.0
-- Deep as soon as there is a packet, and so until it is told otherwise.
local iface = option "iface" { type = "iface" }
local deep = flows "deep" { key = "src" }

return policy "lease" {
  attach = { iface = iface, hook = "tc.ingress" },
  window = "100ms",
  always = { counter "totals" {} },
  levels = { level "calm" {}, level "siege" { deep, lease = option "lease" { default = "2s" } } },
  rules = {
    rule "any" { when = rate("totals.packets"):above "1/s", clear = rate("totals.packets"):below "0/s", hold = "siege" },
  },
}
