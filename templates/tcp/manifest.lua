-- SPDX-License-Identifier: Apache-2.0
-- tcp: how connections fare: handshakes, round trips, retransmissions; by server or by connection.
return {
  name = "tcp",
  help = "how TCP connections fare: handshake and round-trip times, retransmissions, zero windows, resets",
  rows = true,
  calls = true,
  needs = { "addresses", "transport", "tcp", "payload" },
  key = {
    default = "server",
    choices = {
      server = { "server", "server_port" },
      client = { "client" },
      pair = { "client", "server" },
      connection = { "client", "server", "client_port", "server_port" },
    },
  },
  key_fields = {
    "vlan", "ifindex",
    { name = "client", unit = "address", help = "the end that is not the server" },
    { name = "server", unit = "address", help = "where the SYN goes to; else the end with the lower port" },
    { name = "client_port", unit = "port", help = "the client's" },
    { name = "server_port", unit = "port", help = "the server's" },
  },
  fields = {
    { name = "ip_version", unit = "number", help = "4 or 6; part of every key" },
    { name = "packets", unit = "packets", help = "segments on the wire, both ways" },
    { name = "bytes", unit = "bytes", help = "their IP octets" },
    { name = "syns", unit = "packets", help = "SYNs without ACK" },
    { name = "syn_acks", unit = "packets", help = "SYNs with ACK" },
    { name = "fins", unit = "packets", help = "FINs" },
    { name = "resets", unit = "packets", help = "RSTs" },
    { name = "zero_windows", unit = "packets", help = "window 0, but for SYN, FIN and RST" },
  },
  features = {
    handshake = {
      help = "from the first SYN to the SYN/ACK: packets by time, below 1 µs, 2, 4 … 2^23 µs, and more",
      fields = {
        { name = "handshakes", list = true, classes = { first = 1000, unit = "ns" } },
        { name = "handshake_max", unit = "ns", fold = "max", help = "the longest" },
      },
      unit = "packets",
    },
    rtt = {
      help = "round trips by TCP's time stamps (RFC 7323), from here to an end and back, in classes like handshake",
      fields = {
        { name = "server_rtts", list = true, classes = { first = 1000, unit = "ns" }, help = "to the server" },
        { name = "server_rtt_max", unit = "ns", fold = "max", help = "the longest" },
        { name = "client_rtts", list = true, classes = { first = 1000, unit = "ns" }, help = "to the client" },
        { name = "client_rtt_max", unit = "ns", fold = "max", help = "the longest" },
      },
      unit = "packets",
    },
    loss = {
      help = "segments that came before, or not in order, as far as one point on the way shows",
      fields = {
        { name = "retransmissions", unit = "packets", help = "what they carry was sent before, or comes too late" },
        { name = "out_of_order", unit = "packets", help = "fill a gap that is younger than 3 ms" },
        { name = "gaps", unit = "packets", help = "come after a gap: something before them is missing here" },
        { name = "keep_alives", unit = "packets", help = "at most one octet, which was sent before" },
      },
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
    sessions = {
      default = 65536,
      type = "count",
      unit = "sessions",
      min = 1,
      max = 16777216,
      help = "connections that are followed; the least recently used is forgotten first",
    },
    idle = {
      default = 60,
      type = "duration",
      unit = "time",
      min = 0.001,
      max = 86400,
      help = "who is the server is found anew after a connection was silent for longer",
    },
  },
  hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = {
    { map = "rows", kind = "map", entries = "entries", role = "rows" },
    { map = "other", kind = "array", entries = 1, role = "other" },
  },
}
