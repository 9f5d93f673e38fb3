-- SPDX-License-Identifier: Apache-2.0
-- Up and down all the time, by the number of the window: a ladder whose every change has to be exact.
local iface = option "iface" { type = "iface" }
local hook  = option "hook"  { default = "tc", one_of = { "xdp", "tc.ingress", "tc.egress", "tc" } }

local to, from = flows "to" { key = "dst" }, flows "from" { key = "5tuple", features = { "tcp_flags", "timing" } }

local function beat(every, at)
  return function(w) return w.seq % every == at end
end

return policy "levels" {
  attach = { iface = iface, hook = hook },
  window = "20ms",
  always = { counter "totals" {} },
  levels = {
    level "calm"  {},
    level "alert" { to, window = "10ms", lease = "10s" },
    level "siege" { to, from, window = "20ms" },
  },
  rules = {
    rule "short" { when = beat(4, 1), clear = beat(4, 3), hold = "alert" },
    rule "long"  { when = beat(10, 2), clear = beat(10, 6), hold = "siege" },
  },
}
