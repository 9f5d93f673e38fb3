-- SPDX-License-Identifier: Apache-2.0
-- Amplification: answers of UDP services that nobody asked for. Watch for: the level flood, victims, abused services.
local iface = option "iface" { type = "iface", help = "the interface (default: the default route's)" }
local hook  = option "hook"  { default = "tc", one_of = { "tc.ingress", "tc" } }
local flood = option "flood" { default = "8Mbit/s", help = "such answers to one host that are not normal here" }

-- chargen, DNS, TFTP, portmap, NTP, NetBIOS, SNMP, LDAP, SSDP, mDNS, WS-Discovery, memcached
local services = "19 or 53 or 69 or 111 or 123 or 137 or 161 or 389 or 1900 or 5353 or 3702 or 11211"

local answers  = flows "answers"  { key = "dst", filter = "udp and src port (" .. services .. ")" }
local requests = flows "requests" { key = "src", filter = "udp and dst port (" .. services .. ")" }
local abused   = flows "abused"   { key = { "src", "sport", "dst" }, filter = "udp and src port (" .. services .. ")",
                                    scope = "victims" }

return policy "amplification" {
  attach = { iface = iface, hook = hook },
  window = "1s",
  always = { answers, requests },
  levels = {
    level "calm"  {},
    level "flood" { abused, lease = "30s", longest = "1h" },
  },
  sets = {
    set "victims" { of = "dst", max = 256, ttl = "10m" },
  },
  rules = {
    rule "flood" {
      per = "answers.dst",
      when = all { rate("answers.bytes"):above(flood), share("requests.bytes", "answers.bytes"):below "20%" },
      clear = rate("answers.bytes"):below(flood / 4):lasting "10s",
      hold = "flood", act = { add "victims", log },
    },
  },
  exports = { records "answers" { top = { 20, "bytes" } }, records "abused" { top = { 100, "bytes" } } },
}
