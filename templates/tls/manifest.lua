-- SPDX-License-Identifier: Apache-2.0
-- tls: ClientHellos over TCP, on any port: who calls whom by which name, and what it offers.
return {
  name = "tls",
  help = "ClientHellos of TLS over TCP, on any port, by server name, JA4 or any list of fields",
  rows = true,
  needs = { "addresses", "transport", "payload" },
  key = {
    default = "sni",
    choices = {
      sni = { "sni" },
      client = { "client" },
      server = { "server" },
      ja4 = { "ja4" },
      hello = { "sni", "alpn", "version", "client", "server" },
    },
  },
  key_fields = {
    { name = "client", unit = "address", help = "who calls: the ClientHello's source" },
    { name = "server", unit = "address", help = "who is called: the ClientHello's destination" },
    { name = "version", unit = "name", help = "the highest version offered: supported_versions, or legacy_version" },
    { name = "legacy_version", unit = "name", help = "the version in front of the ClientHello's random" },
    { name = "sni", unit = "name", help = "the server's name in lower case; empty: it has none, or out of view" },
    { name = "alpn", unit = "name", help = "the first protocol of ALPN, at most 32 characters; empty: none" },
    { name = "ja4", unit = "name", help = "the first part of JA4, as t13d1516h2" },
    { name = "ciphers", unit = "number", help = "cipher suites offered, without GREASE" },
    { name = "extensions", unit = "number", help = "extensions, without GREASE; of a cut hello those in view" },
    "src", "dst", "src_net", "dst_net", "sport", "dport", "vlan", "ifindex", "tunnel_id", "tunnel", "direction",
    "tos",
  },
  fields = {
    { name = "ip_version", unit = "number", help = "4 or 6; part of every key" },
    { name = "packets", unit = "packets", help = "TCP packets with a ClientHello; merged ones as one" },
    { name = "cut", unit = "packets", help = "those whose ClientHello goes on in a later packet or record" },
    { name = "broken", unit = "packets", help = "those with lengths that cannot be: what is behind them is not read" },
  },
  features = {
    hello = {
      help = "what the row's first ClientHello of the window says, as far as it is not in the key",
      fields = {
        { name = "sni", help = "its server name in lower case" },
        { name = "alpn", help = "its first protocol of ALPN" },
        { name = "version", help = "the highest version it offers" },
        { name = "legacy_version", help = "the version in front of its random" },
        { name = "ciphers", unit = "number", fold = "last", help = "cipher suites it offers, without GREASE" },
        { name = "extensions", unit = "number", fold = "last", help = "its extensions, without GREASE" },
      },
      unit = "name",
    },
    ja4 = {
      help = "the first part of JA4 of the row's first ClientHello, as t13d1516h2",
      fields = { "ja4" },
      unit = "name",
    },
    ciphers = {
      help = "the first 32 cipher suites of the row's first ClientHello, GREASE too, as 0x1301",
      fields = { { name = "cipher_list", list = true } },
      unit = "name",
    },
    server = {
      help = "what servers answer (needs packets of both ways: hook tc)",
      fields = {
        { name = "answers", unit = "packets",
          help = "ServerHellos in the window of their ClientHello; a HelloRetryRequest is one" },
        { name = "chosen_version", unit = "name", fold = "last", help = "of the last of them" },
        { name = "chosen_cipher", unit = "name", help = "of the last of them, as 0x1301" },
      },
    },
    tunnel = {
      help = "ClientHellos inside tunnels too; the key is that of the innermost IP headers",
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
    sni_bytes = {
      default = 128,
      type = "count",
      unit = "bytes",
      min = 8,
      max = 256,
      help = "of a server name that are kept",
    },
    connections = {
      default = 16384,
      type = "count",
      unit = "connections",
      min = 1,
      max = 1048576,
      help = "whose ClientHello `server` remembers; the least recently used go",
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
