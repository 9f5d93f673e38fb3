-- SPDX-License-Identifier: Apache-2.0
-- Key fields that every template may have: the key_fields of a manifest name them without more words, and its
-- key includes <key_members.h>. The subnets take the knobs prefix4 and prefix6.
return {
  src = { name = "src", unit = "address", needs = { "addresses" }, help = "source address" },
  dst = { name = "dst", unit = "address", needs = { "addresses" }, help = "destination address" },
  src_net = { name = "src_net", unit = "address", needs = { "addresses" }, help = "source's subnet" },
  dst_net = { name = "dst_net", unit = "address", needs = { "addresses" }, help = "destination's subnet" },
  sport = { name = "sport", unit = "port", needs = { "transport" }, help = "source port; 0 where there is none" },
  dport = { name = "dport", unit = "port", needs = { "transport" }, help = "destination port; 0 where there is none" },
  vlan = { name = "vlan", unit = "number", needs = { "vlan" }, help = "outermost VLAN id; 0 where there is none" },
  ifindex = { name = "ifindex", unit = "name", help = "the interface" },
  tunnel_id = { name = "tunnel_id", unit = "number", needs = { "transport", "tunnel" }, help = "GRE key, VNI or TEID" },
  tunnel = { name = "tunnel", unit = "name", needs = { "transport", "tunnel" }, help = "kind of the outermost tunnel" },
  direction = { name = "direction", unit = "name", help = "ingress or egress, as the interface sees it" },
  proto = { name = "proto", unit = "number", needs = { "transport" },
      help = "IANA protocol number, behind IPv6's extension headers" },
  tos = { name = "tos", unit = "number", needs = { "ip" }, help = "DSCP and ECN: ToS, or IPv6's traffic class" },
}
