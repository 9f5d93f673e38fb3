-- SPDX-License-Identifier: Apache-2.0
-- counter: totals of a hook, each way. The cheapest probe there is, meant to run at every level.
return {
  name = "counter",
  help = "packets and bytes that cross the hook, each way",
  rows = false,
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
  },
  knobs = {},
  hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = {
    { map = "rows", kind = "array", entries = 2, role = "rows", index = "direction" },
  },
}
