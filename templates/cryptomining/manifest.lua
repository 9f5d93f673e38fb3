-- SPDX-License-Identifier: Apache-2.0
-- cryptomining: sessions between a client and a server, as long and thin as those of miners are.
return {
  name = "cryptomining",
  help = "sessions by client and server: packets and bits each way, how long they last, how the server was found",
  rows = true,
  needs = { "addresses", "transport" },
  fields = {
    { name = "client", unit = "address", help = "the end that is not the server" },
    { name = "server", unit = "address", help = "the end that is served from: see method" },
    { name = "client_port", unit = "port", help = "0 where there is none" },
    { name = "server_port", unit = "port", help = "0 where there is none" },
    { name = "proto", unit = "number", help = "IANA protocol number" },
    { name = "ip_version", unit = "number", help = "4 or 6" },
    { name = "packets", unit = "packets", help = "segments on the wire, both ways" },
    { name = "client_packets", unit = "packets", help = "those from the client" },
    { name = "client_bits", unit = "bits", help = "IP octets from the client, times 8" },
    { name = "server_packets", unit = "packets", help = "those from the server" },
    { name = "server_bits", unit = "bits", help = "IP octets from the server, times 8" },
    { name = "restarts", unit = "packets", help = "times the session went on after it had been idle" },
    { name = "start", unit = "time", fold = "min", help = "when it began, also before this window" },
    { name = "last", unit = "time", fold = "max", help = "its last packet" },
    { name = "method", unit = "name", fold = "last",
      help = "how the server was found, by the first packet seen: syn, syn_ack, well_known_port (one is below 1024), "
        .. "lower_port, first_packet (it went to the server)" },
  },
  features = {},
  knobs = {
    entries = {
      default = 8192,
      type = "count",
      unit = "rows",
      min = 1,
      max = 1048576,
      help = "sessions a window can hold; what does not fit is counted as loss.map_full",
    },
    sessions = {
      default = 65536,
      type = "count",
      unit = "sessions",
      min = 1,
      max = 16777216,
      help = "sessions whose start is remembered over windows; the least recently used is forgotten first",
    },
    idle = {
      default = 60,
      type = "duration",
      unit = "time",
      min = 0.001,
      max = 86400,
      help = "a session without a packet for longer starts anew",
    },
  },
  hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = {
    { map = "rows", kind = "map", type = "percpu_hash", entries = "entries", role = "rows" },
    { map = "other", kind = "array", entries = 1, role = "other" },
  },
}
