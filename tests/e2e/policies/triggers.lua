-- SPDX-License-Identifier: Apache-2.0
-- Up by the kernel's triggers and down by the engine, all the time, for as long as packets come: each rule clears with the first
-- window that is judged, and then its trigger is armed again.
local iface = option "iface" { type = "iface" }
local hook  = option "hook"  { default = "tc", one_of = { "xdp", "tc.ingress", "tc.egress", "tc" } }

local to, from = flows "to" { key = "dst" }, flows "from" { key = "5tuple", features = { "tcp_flags", "timing" } }

local packets = rate "totals.packets"

return policy "triggers" {
  attach = { iface = iface, hook = hook },
  window = "50ms",
  always = { counter "totals" {} },
  levels = {
    level "calm"  {},
    level "alert" { to, window = "10ms", lease = "10s" },
    level "siege" { to, from, window = "10ms" },
  },
  rules = {
    rule "some" { trigger = "10ms", when = packets:above "500/s", clear = packets:above "1/s", hold = "alert" },
    rule "many" { trigger = "5ms", when = packets:above "10k/s", clear = packets:above "1/s", hold = "siege" },
  },
}
