-- SPDX-License-Identifier: Apache-2.0
-- arp: who claims which address. An address that two MACs claim has two rows.
return {
  name = "arp",
  help = "who claims which address: ARP, and neighbour solicitations and advertisements of IPv6",
  rows = true,
  needs = { "addresses", "transport", "icmp", "payload", "ethertype" },
  key = {
    default = "claim",
    choices = {
      claim = { "addr", "mac" },
      addr = { "addr" },
      mac = { "mac" },
      vlan = { "addr", "mac", "vlan" },
      interface = { "addr", "mac", "ifindex" },
    },
  },
  key_fields = {
    { name = "addr", unit = "address",
      help = "ARP's sender, a solicitation's source, an advertisement's target; 0.0.0.0 or :: of probes" },
    { name = "mac", unit = "mac",
      help = "who claims it: ARP's sender, the link-layer address option; 00:00:00:00:00:00: it does not say" },
    "vlan", "ifindex", "direction",
  },
  fields = {
    { name = "ip_version", unit = "number", help = "4: ARP, 6: neighbour discovery; part of every key" },
    { name = "packets", unit = "packets", help = "ARP packets, solicitations and advertisements, not in a tunnel" },
    { name = "requests", unit = "packets", help = "ARP requests and neighbour solicitations" },
    { name = "replies", unit = "packets", help = "ARP replies and neighbour advertisements" },
    { name = "gratuitous", unit = "packets",
      help = "ARP whose sender and target are the same address; advertisements that nobody solicited" },
    { name = "probes", unit = "packets",
      help = "requests from no address: is it taken? (RFC 5227; duplicate address detection of IPv6)" },
    { name = "broken", unit = "packets", help = "cut short, options that cannot be, ARP not of Ethernet and IPv4" },
  },
  features = {
    sender = {
      help = "packets whose frame comes from another MAC than they claim",
      fields = { "mismatched" },
      unit = "packets",
    },
    timing = {
      help = "when the row's first and last packet of the window came",
      fields = { { name = "first", fold = "min" }, { name = "last", fold = "max" } },
      unit = "time",
    },
  },
  knobs = {
    entries = {
      default = 16384,
      type = "count",
      unit = "rows",
      min = 1,
      max = 16777216,
      help = "rows a window can hold; what does not fit is counted as loss.map_full",
    },
  },
  hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = {
    { map = "rows", kind = "map", entries = "entries", role = "rows" },
    { map = "other", kind = "array", entries = 1, role = "other" },
  },
}
