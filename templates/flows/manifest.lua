-- SPDX-License-Identifier: Apache-2.0
-- flows: a row for every source, destination, pair, 5-tuple, or any list of fields, of IPv4 and IPv6.
return {
  name = "flows",
  help = "a row for every source, destination, pair, 5-tuple or other key, IPv4 and IPv6 alike",
  rows = true,
  needs = {},
  key = {
    default = "5tuple",
    choices = {
      src = { "src" },
      dst = { "dst" },
      pair = { "src", "dst" },
      ["5tuple"] = { "src", "dst", "sport", "dport", "proto" },
      subnet = { "src_net", "dst_net" },
      vlan = { "vlan" },
      interface = { "ifindex", "direction" },
    },
  },
  key_fields = {
    "src", "dst", "src_net", "dst_net", "sport", "dport", "vlan", "ifindex", "tunnel_id", "tunnel", "direction",
    "proto", "tos",
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
    biflow = {
      help = "one row for both ways: src is the end whose address, then port, is lower",
      fields = {
        { name = "packets_back", unit = "packets", help = "those of the packets that went from dst to src" },
        { name = "bytes_back", unit = "bytes", help = "their IP octets" },
      },
      key = { "src", "dst" },
    },
    size_hist = {
      help = "packets by their IP octets: up to 63, 127, 255 … 65535, and more",
      fields = { { name = "sizes", list = true, classes = { first = 64, unit = "bytes", sum = "bytes" } } },
      unit = "packets",
    },
    tunnel = {
      help = "of a packet in a tunnel, the key is that of the innermost IP headers, and bytes are their octets",
      fields = {
        { name = "tunnel", unit = "name", fold = "last",
          help = "the outermost: ip_in_ip, ipv6_in, gre, gre_eth, vxlan, geneve, gtp_u, or no_tunnel" },
        { name = "tunnel_id", unit = "number", fold = "last", help = "its GRE key, VNI or TEID; 0: none" },
      },
      needs = { "transport", "tunnel" },
    },
    ttl = {
      help = "the least and greatest TTL or hop limit",
      fields = { { name = "ttl_min", fold = "min" }, { name = "ttl_max", fold = "max" } },
      unit = "number",
      needs = { "ip" },
    },
    tos = {
      help = "ToS or traffic class (DSCP and ECN) of the row's first packet",
      fields = { { name = "tos", fold = "last" } },
      unit = "number",
      needs = { "ip" },
    },
    vlan = {
      help = "VLAN ids of the row's first packet, the outermost and the next; 0 where there is none",
      fields = { { name = "vlan", fold = "last" }, { name = "inner_vlan", fold = "last" } },
      unit = "number",
      needs = { "vlan" },
    },
    mpls = {
      help = "the innermost MPLS label of the row's first packet; 0 where there is none",
      fields = { { name = "label", fold = "last" } },
      unit = "number",
      needs = { "mpls" },
    },
    direction = {
      help = "which way the row's first packet went, as the interface sees it",
      fields = { { name = "direction", fold = "last" } },
      unit = "name",
    },
    interface = {
      help = "the interface of the row's first packet",
      fields = { { name = "ifindex", fold = "last" } },
      unit = "name",
    },
    gaps = {
      help = "packets by the time since the row's packet before: below 1 µs, 2, 4 … 2^23 µs, and more",
      fields = { { name = "gaps", list = true, classes = { first = 1000, unit = "ns" } } },
      unit = "packets",
      requires = { "timing" },
    },
    defrag = {
      help = "later fragments have the ports of the first, if it came before them",
      fields = {
        { name = "fragments", unit = "packets", help = "fragments that are not the first of their datagram" },
        { name = "unmatched", unit = "packets", help = "those whose first was not seen: their ports are 0" },
      },
      needs = { "transport" },
    },
    server = {
      help = "which end is the server, and by which rule (a session's first packet decides)",
      fields = {
        { name = "server", unit = "name", fold = "last", help = "src_serves or dst_serves" },
        { name = "method", unit = "name", fold = "last",
          help = "syn, syn_ack, well_known_port (below 1024), lower_port, first_packet (it went to the server)" },
      },
      key = { "src", "dst", "sport", "dport" },
    },
    once = {
      help = "count a key's packets only where it was first seen, interface and way, not again when forwarded",
      fields = { { name = "elsewhere", help = "packets that were seen elsewhere, and not counted" } },
      unit = "packets",
    },
    end_reason = {
      help = "how the flow ended, if it did: fin, rst, idle (it went on after that), or not_ended",
      fields = { { name = "end_reason", fold = "last" } },
      unit = "name",
      key = { "src", "dst", "sport", "dport" },
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
    sessions = {
      default = 65536,
      type = "count",
      unit = "sessions",
      min = 1,
      max = 16777216,
      help = "with server, end_reason or once, how many are remembered; the least recently used is forgotten",
    },
    idle = {
      default = 60,
      type = "duration",
      unit = "time",
      min = 0.001,
      max = 86400,
      help = "with server or end_reason, a session without a packet for longer starts anew",
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
