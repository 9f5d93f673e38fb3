-- SPDX-License-Identifier: Apache-2.0
-- netflow: flow records with the fields of NetFlow v5 and v9.
return {
  name = "netflow",
  help = "flow records with the fields of NetFlow: both ways of an interface in one table",
  rows = true,
  needs = { "addresses", "transport", "ip" },
  key = {
    default = "flow",
    choices = {
      flow = { "src", "dst", "sport", "dport", "proto", "tos" },
      v5 = { "src", "dst", "sport", "dport", "proto", "tos", "ifindex" },
      v9 = { "src", "dst", "sport", "dport", "proto", "tos", "ifindex", "direction" },
      prefix = { "src_net", "dst_net" },
    },
  },
  key_fields = {
    "src", "dst", "src_net", "dst_net", "sport", "dport", "vlan", "ifindex", "direction", "proto", "tos",
  },
  fields = {
    { name = "ip_version", unit = "number", help = "4 or 6; part of every key" },
    { name = "packets", unit = "packets", help = "segments on the wire (dPkts, IN_PKTS)" },
    { name = "bytes", unit = "bytes", help = "their IP octets (dOctets, IN_BYTES)" },
    { name = "flows", unit = "flows", help = "1: groups of rows say how many flow records they are (FLOWS)" },
    { name = "first", unit = "time", fold = "min", help = "first packet of the window (First, FIRST_SWITCHED)" },
    { name = "last", unit = "time", fold = "max", help = "last packet of the window (Last, LAST_SWITCHED)" },
    { name = "duration", unit = "ns", fold = "max", help = "from first to last" },
    { name = "tcp_flags", unit = "flags", fold = "last",
      help = "of all packets (TCP_FLAGS): 0x1 FIN, 2 SYN, 4 RST, 8 PSH, 0x10 ACK, 20 URG, 40 ECE, 80 CWR, 0x100 AE" },
  },
  features = {},
  knobs = {
    entries = {
      default = 65536,
      type = "count",
      unit = "rows",
      min = 1,
      max = 16777216,
      help = "rows a window can hold; what does not fit is counted as loss.map_full",
    },
    prefix4 = { default = 24, type = "count", unit = "bits", min = 0, max = 32, help = "subnets of IPv4" },
    prefix6 = { default = 64, type = "count", unit = "bits", min = 0, max = 128, help = "subnets of IPv6" },
  },
  hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = {
    { map = "rows", kind = "map", entries = "entries", role = "rows" },
    { map = "other", kind = "array", entries = 1, role = "other" },
  },
}
