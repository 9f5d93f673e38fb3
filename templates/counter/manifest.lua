-- SPDX-License-Identifier: Apache-2.0
-- counter: totals of a hook, each way. The cheapest probe there is, meant to run at every level.
return {
  name = "counter",
  help = "packets and bytes that cross the hook, each way",
  rows = false,
  metrics = "traffic", -- what scrapers call it: a name is not to say that it is a counter
  needs = {},
  fields = {
    { name = "direction", unit = "name", help = "ingress or egress, as the interface sees it" },
    { name = "packets", unit = "packets", help = "segments on the wire: merged packets count as what they were" },
    { name = "skbs", unit = "skbs", help = "packets as the hook saw them, merged ones as one" },
    { name = "bytes", unit = "bytes", help = "IP octets of all segments (IPv4 total length, IPv6 40 + payload)" },
    { name = "frame_bytes", unit = "bytes", help = "octets of all frames, link headers included" },
  },
  features = {
    tcp_flags = {
      help = "TCP flags, each counted; syn includes the SYN/ACKs that syn_ack counts alone",
      fields = { "syn", "syn_ack", "fin", "rst", "psh", "ack", "urg", "ece", "cwr" },
      unit = "packets",
      needs = { "transport" },
    },
    size_hist = {
      help = "IP packets by their octets: up to 63, 127, 255 … 65535, and more",
      fields = { { name = "sizes", list = true, classes = { first = 64, unit = "bytes", sum = "bytes" } } },
      unit = "packets",
    },
    by_proto = {
      help = "packets and IP octets by protocol, of IPv4 and IPv6 together; what is not IP is in none",
      fields = {
        { name = "tcp_packets" }, { name = "tcp_bytes", unit = "bytes" },
        { name = "udp_packets" }, { name = "udp_bytes", unit = "bytes" },
        { name = "icmp_packets", help = "ICMP and ICMPv6" }, { name = "icmp_bytes", unit = "bytes" },
        { name = "rest_packets", help = "every other protocol" }, { name = "rest_bytes", unit = "bytes" },
      },
      unit = "packets",
      needs = { "transport" },
    },
    by_dscp = {
      help = "IP packets by their DSCP, from 0 to 63 (RFC 2474)",
      fields = { { name = "dscp", list = true } },
      unit = "packets",
      needs = { "ip" },
    },
    by_vlan = {
      help = "all packets, by their VLAN tags; which VLANs: flows with the key vlan",
      fields = {
        { name = "untagged", help = "packets without a tag" },
        { name = "tagged", help = "with one" },
        { name = "double_tagged", help = "with two or more" },
      },
      unit = "packets",
      needs = { "vlan" },
    },
  },
  knobs = {},
  hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = {
    { map = "rows", kind = "array", entries = 2, role = "rows", index = "direction" },
  },
}
