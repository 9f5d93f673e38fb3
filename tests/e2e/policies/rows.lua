-- SPDX-License-Identifier: Apache-2.0
-- A row for every 5-tuple, unfiltered, in short windows.
local iface   = option "iface"   { type = "iface" }
local hook    = option "hook"    { default = "tc", one_of = { "xdp", "tc.ingress", "tc.egress", "tc" } }
local window  = option "window"  { default = "20ms" }
local entries = option "entries" { default = 65536 }

return policy "rows" {
  attach = { iface = iface, hook = hook },
  window = window,
  always = { flows "all" { key = "5tuple", entries = entries } },
}
