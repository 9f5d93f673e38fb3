-- SPDX-License-Identifier: Apache-2.0
-- Totals alone, in short windows, at any hook and mode.
local iface  = option "iface"  { type = "iface" }
local hook   = option "hook"   { default = "tc", one_of = { "xdp", "tc.ingress", "tc.egress", "tc" } }
local window = option "window" { default = "20ms" }
local mode   = option "mode"   { default = "auto", one_of = { "auto", "native", "generic", "tcx", "clsact" } }

return policy "count" {
  attach = { iface = iface, hook = hook, mode = mode },
  window = window,
  always = { counter "totals" { features = { "tcp_flags" } } },
}
