-- SPDX-License-Identifier: Apache-2.0
-- icmp: messages of ICMP and ICMPv6: what they report, of which flow, and how long echoes take.
return {
  name = "icmp",
  help = "ICMP and ICMPv6: unreachable, time exceeded, too big, of which flow; echo and its response time",
  rows = true,
  calls = true,
  needs = { "addresses", "transport", "icmp", "payload" },
  key = {
    default = "message",
    choices = {
      message = { "src", "dst", "icmp_type", "code" },
      type = { "icmp_type", "code" },
      src = { "src" },
      dst = { "dst" },
      about = { "icmp_type", "code", "about_src", "about_dst", "about_sport", "about_dport", "about_proto" },
    },
  },
  key_fields = {
    "src", "dst", "vlan", "ifindex", "direction",
    { name = "about_src", unit = "address", help = "source of the packet that an error quotes; or :: for none" },
    { name = "about_dst", unit = "address", help = "its destination" },
    { name = "about_sport", unit = "port", help = "its source port; 0 where it has none, or the quote ends before" },
    { name = "about_dport", unit = "port", help = "its destination port" },
    { name = "about_proto", unit = "number", help = "its protocol: what stands behind its IP header" },
    { name = "icmp_type", unit = "number", help = "the type, in ICMP's numbers or ICMPv6's, as ip_version says" },
    { name = "code", unit = "number", help = "the code" },
  },
  fields = {
    { name = "ip_version", unit = "number", help = "4: ICMP, 6: ICMPv6; part of every key" },
    { name = "packets", unit = "packets", help = "messages" },
    { name = "bytes", unit = "bytes", help = "their IP octets" },
    { name = "requests", unit = "packets", help = "echo requests" },
    { name = "replies", unit = "packets", help = "echo replies" },
    { name = "unreachable", unit = "packets", help = "destination unreachable; too_big is not among them" },
    { name = "too_big", unit = "packets", help = "fragmentation needed, packet too big" },
    { name = "time_exceeded", unit = "packets", help = "in transit, or in reassembly" },
    { name = "redirects", unit = "packets", help = "redirects; ICMPv6's come with neighbour discovery" },
    { name = "broken", unit = "packets", help = "shorter than ICMP's header: type and code are 0" },
  },
  features = {
    latency = {
      help = "echo replies by the time since their request: below 1 µs, 2, 4 … 2^23 µs, and more",
      fields = {
        { name = "latencies", list = true, classes = { first = 1000, unit = "ns" } },
        { name = "latency_max", unit = "ns", fold = "max", help = "the longest" },
      },
      unit = "packets",
    },
    mtu = {
      help = "the least MTU that a message named; 0: none did",
      fields = { { name = "mtu" } },
      unit = "number",
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
    echoes = {
      default = 16384,
      type = "count",
      unit = "requests",
      min = 1,
      max = 16777216,
      help = "with latency, requests under way; the least recently used is forgotten first",
    },
  },
  hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = {
    { map = "rows", kind = "map", entries = "entries", role = "rows" },
    { map = "other", kind = "array", entries = 1, role = "other" },
  },
}
