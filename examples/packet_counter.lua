-- SPDX-License-Identifier: Apache-2.0
-- Packets and bytes of one interface. Watch for: the packets a second of each direction, and a loss of 0.
local iface  = option "iface"  { type = "iface", help = "the interface (default: the default route's)" }
local hook   = option "hook"   { default = "tc", one_of = { "xdp", "tc.ingress", "tc.egress", "tc" } }
local window = option "window" { default = "1s", help = "how long each count lasts" }

return policy "packet-counter" {
  attach = { iface = iface, hook = hook },
  window = window,
  always = { counter "totals" {} },
}
