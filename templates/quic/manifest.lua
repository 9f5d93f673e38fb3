-- SPDX-License-Identifier: Apache-2.0
-- quic: what QUIC's long headers say: versions, kinds of packets, connection ids.
return {
  name = "quic",
  help = "QUIC's long headers: versions, Initial, 0-RTT, Handshake and Retry packets, connection ids",
  rows = true,
  needs = { "addresses", "transport", "payload" },
  key = {
    default = "version",
    choices = {
      version = { "version" },
      pair = { "src", "dst" },
      flow = { "src", "dst", "sport", "dport" },
      connection = { "src", "dst", "sport", "dport", "version", "dcid", "scid" },
    },
  },
  key_fields = {
    "src", "dst", "sport", "dport", "vlan", "ifindex", "direction",
    { name = "version", unit = "name",
      help = "quic_v1 (RFC 9000), quic_v2 (RFC 9369), negotiation, or the number of a draft or of what is not known" },
    { name = "dcid", unit = "bytes", help = "destination connection id, in hex, filled with zeros to 20 bytes" },
    { name = "scid", unit = "bytes", help = "source connection id, likewise" },
    { name = "dcid_length", unit = "bytes", help = "bytes of the destination connection id" },
    { name = "scid_length", unit = "bytes", help = "bytes of the source connection id" },
  },
  fields = {
    { name = "ip_version", unit = "number", help = "4 or 6; part of every key" },
    { name = "packets", unit = "packets", help = "datagrams that begin with a long header; only that is read" },
    { name = "initials", unit = "packets", help = "Initial, of versions 1 and 2 and what numbers its types like 1" },
    { name = "zero_rtts", unit = "packets", help = "0-RTT" },
    { name = "handshakes", unit = "packets", help = "Handshake" },
    { name = "retries", unit = "packets", help = "Retry" },
    { name = "negotiations", unit = "packets", help = "version negotiation" },
    { name = "broken", unit = "packets", help = "connection ids that are too long, or end behind the datagram" },
  },
  features = {
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
    port = {
      default = 443,
      type = "count",
      unit = "port",
      min = 1,
      max = 65535,
      help = "where any version is taken for QUIC; on others only those that are known",
    },
  },
  hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = {
    { map = "rows", kind = "map", entries = "entries", role = "rows" },
    { map = "other", kind = "array", entries = 1, role = "other" },
  },
}
