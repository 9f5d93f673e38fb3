-- SPDX-License-Identifier: Apache-2.0
-- Port scan: who knocks on many ports, or on many hosts. Watch for: the level scan, scanners named, what they tried.
local iface = option "iface" { type = "iface", help = "the interface (default: the default route's)" }
local hook  = option "hook"  { default = "tc", one_of = { "xdp", "tc.ingress", "tc" } }
local ports = option "ports" { default = 30, help = "ports that one source knocks on in a window: more is a scan" }
local hosts = option "hosts" { default = 30, help = "hosts that one source knocks on in a window: more is a sweep" }

-- Only packets that open a connection are looked at; all others cost a few instructions of the filter.
local knocks = flows "knocks" {
  key = { "src", "dst", "dport" },
  filter = "tcp[tcpflags] & (tcp-syn|tcp-ack) = tcp-syn or (udp and udp[4:2] <= 16)",
}
-- Once somebody scans: whatever they exchange with whom, and what was refused.
local tried = flows "tried" { key = "5tuple", features = { "tcp_flags" }, scope = "scanners" }

return policy "port-scan" {
  attach = { iface = iface, hook = hook },
  window = "1s",
  always = { knocks },
  levels = {
    level "calm" {},
    level "scan" { tried, lease = "30s", longest = "30m" },
  },
  sets = {
    set "scanners" { of = "host", max = 256, ttl = "10m" },
  },
  rules = {
    rule "ports" {
      per = "knocks.src",
      when = distinct("knocks.dport"):above(ports), clear = distinct("knocks.dport"):below(ports / 4):lasting "30s",
      hold = "scan", act = { add "scanners", log },
    },
    rule "hosts" {
      per = "knocks.src",
      when = distinct("knocks.dst"):above(hosts), clear = distinct("knocks.dst"):below(hosts / 4):lasting "30s",
      hold = "scan", act = { add "scanners", log },
    },
  },
  exports = { records "tried" { top = { 100, "packets" } }, records "knocks" { top = { 20, "packets" } } },
}
