-- SPDX-License-Identifier: Apache-2.0
-- Latency watch: how long servers take to answer a SYN. Watch for: the level slow, servers named, which clients suffer.
local iface = option "iface" { type = "iface", help = "the interface (default: the default route's)" }
local slow  = option "slow"  { default = "200ms", help = "handshakes of a server: 95th percentile that is too slow" }
local least = option "least" { default = "1/s", help = "connections a second of a server below which nothing is said" }

local servers = tcp "servers" { key = "server", features = { "handshake" } }
local suffer  = tcp "suffer"  { key = "pair", features = { "rtt", "loss" }, scope = "slow_ones" }

return policy "latency" {
  attach = { iface = iface, hook = "tc" },
  window = "5s",
  always = { servers },
  levels = {
    level "fine" {},
    level "slow" { suffer, lease = "1m", longest = "1h" },
  },
  sets = {
    set "slow_ones" { of = "host", max = 64, ttl = "10m" },
  },
  rules = {
    rule "slow" {
      per = "servers.server",
      when = all { quantile("servers.handshakes", 0.95):above(slow), rate("servers.syn_acks"):above(least) },
      clear = any { quantile("servers.handshakes", 0.95):below(slow / 2), rate("servers.syn_acks"):below(least / 2) }
        :lasting "30s",
      hold = "slow", act = { add "slow_ones", log },
    },
  },
  exports = {
    records "servers" { top = { 50, "packets" } }, records "suffer" { top = { 100, "packets" } },
    metrics "servers" { "handshakes", "syn_acks", series = 100 },   -- histograms by server, from the daemon's /metrics
  },
}
