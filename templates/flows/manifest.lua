-- SPDX-License-Identifier: Apache-2.0
-- flows: a row for every source, destination, pair or 5-tuple of IPv4 and IPv6.
return {
  name = "flows",
  help = "a row for every source, destination, pair or 5-tuple, IPv4 and IPv6 alike",
  rows = true,
  needs = {},
  key = {
    default = "5tuple",
    choices = {
      src = { "src" },
      dst = { "dst" },
      pair = { "src", "dst" },
      ["5tuple"] = { "src", "dst", "sport", "dport", "proto" },
    },
  },
  key_fields = {
    { name = "src", unit = "address", needs = { "addresses" }, help = "source address" },
    { name = "dst", unit = "address", needs = { "addresses" }, help = "destination address" },
    { name = "sport", unit = "port", needs = { "transport" }, help = "source port; 0 where there is none" },
    { name = "dport", unit = "port", needs = { "transport" }, help = "destination port; 0 where there is none" },
    { name = "proto", unit = "number", needs = { "transport" }, help = "IANA protocol number, behind IPv6's extension headers" },
  },
  fields = {
    { name = "ip_version", unit = "number", help = "4 or 6; part of every key" },
    { name = "packets", unit = "packets", help = "segments on the wire: merged packets count as what they were" },
    { name = "skbs", unit = "skbs", help = "packets as the hook saw them, merged ones as one" },
    { name = "bytes", unit = "bytes", help = "IP octets of all segments (IPv4 total length, IPv6 40 + payload)" },
  },
  features = {
    tcp_flags = {
      help = "TCP flags, each counted; syn includes the SYN/ACKs that syn_ack counts alone",
      fields = { "syn", "syn_ack", "fin", "rst", "psh", "ack", "urg", "ece", "cwr" },
      unit = "packets",
      needs = { "transport" },
    },
    tunnel = {
      help = "of a packet in a tunnel, the key is that of the innermost IP headers, and bytes are their octets",
      fields = {
        { name = "tunnel", unit = "name", fold = "last",
          help = "the outermost: ip_in_ip, ipv6_in, gre, gre_eth, vxlan, geneve, gtp_u, or no_tunnel" },
        { name = "tunnel_id", unit = "number", fold = "last", help = "its GRE key, VNI or TEID; 0 where there is none" },
      },
      needs = { "transport", "tunnel" },
    },
    timing = {
      help = "when the row's first and last packet of the window came",
      fields = { { name = "first", fold = "min" }, { name = "last", fold = "max" } },
      unit = "time",
    },
  },
  knobs = {
    entries = {
      default = 65536,
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
