-- SPDX-License-Identifier: Apache-2.0
-- payload: what packets carry: the first bytes of it, and which patterns stand in it.
return {
  name = "payload",
  help = "what packets carry: how many bytes, the first of them, and which patterns of bytes stand in them",
  rows = true,
  needs = { "addresses", "transport", "payload" },
  key = {
    default = "5tuple",
    choices = {
      src = { "src" },
      dst = { "dst" },
      pair = { "src", "dst" },
      ["5tuple"] = { "src", "dst", "sport", "dport", "proto" },
      server = { "dst", "dport", "proto" },
      pattern = { "pattern" },
    },
  },
  key_fields = {
    { name = "pattern", unit = "number", help = "the first pattern of the list that the packet has, from 1; 0: none" },
    "src", "dst", "src_net", "dst_net", "sport", "dport", "vlan", "ifindex", "tunnel_id", "tunnel", "direction",
    "proto", "tos",
  },
  fields = {
    { name = "ip_version", unit = "number", help = "4 or 6; part of every key" },
    { name = "packets", unit = "packets",
      help = "segments on the wire that carry something: behind TCP's, UDP's or SCTP's header, else behind IP's" },
    { name = "bytes", unit = "bytes", help = "what they carry" },
  },
  features = {
    first = {
      help = "the first bytes of what the row's first packet carries, as many as the knob `first` says",
      fields = {
        { name = "first_bytes", fold = "last", help = "these bytes; zeros behind the packet's last" },
        { name = "first_size", unit = "number", fold = "last", help = "how many of them are the packet's" },
      },
      unit = "name",
    },
    match = {
      help = "packets with the patterns of the knob `patterns`; merged ones as one",
      fields = {
        { name = "matched", help = "packets that have any of them" },
        { name = "patterns", list = true, help = "packets that have each of them" },
        { name = "pattern", unit = "number", fold = "max",
          help = "the first pattern of the list that the last packet that has any has, from 1; 0: none" },
      },
      unit = "packets",
    },
    tunnel = {
      help = "of a packet in a tunnel, the key is that of the innermost IP headers, and what counts is what they carry",
      fields = {},
      needs = { "tunnel" },
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
    first = { default = 32, type = "count", unit = "bytes", min = 1, max = 64, help = "that `first` keeps" },
    patterns = {
      default = { "GET ", "POST ", "HTTP/1.", "SSH-", { hex = "160301" } },
      type = "patterns",
      help = "at most 16 texts or { hex = … }, of 1 to 16 bytes; { …, at = 4 }: at this offset, else at the start; "
        .. "{ …, within = 256 }: anywhere in the first 256 bytes, at most 1024; bytes looked at cost every packet",
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
