-- SPDX-License-Identifier: Apache-2.0
-- http: requests and responses of HTTP/1 that are not encrypted, on any port.
return {
  name = "http",
  help = "requests and responses of clear HTTP/1, on any port, by host, path, status or any list of fields",
  rows = true,
  needs = { "addresses", "transport", "payload" },
  key = {
    default = "host",
    choices = {
      host = { "host" },
      method = { "method" },
      path = { "host", "path" },
      status = { "status" },
      client = { "client" },
      server = { "server" },
      request = { "method", "host", "path", "client", "server" },
    },
  },
  key_fields = {
    { name = "client", unit = "address", help = "who asks: a request's source, a response's destination" },
    { name = "server", unit = "address", help = "who is asked: a request's destination, a response's source" },
    { name = "status", unit = "number", help = "a response's status code; 0 of requests" },
    { name = "method", unit = "name",
      help = "a request's method as it is written, at most 20 characters; empty of responses without `pair`" },
    { name = "host", unit = "name",
      help = "a request's Host in lower case, with its port if it has one; empty where it is not in "
        .. "view, and of responses without `pair`" },
    { name = "path", unit = "name", help = "where a request's target begins; empty of responses without `pair`" },
    "src", "dst", "src_net", "dst_net", "sport", "dport", "vlan", "ifindex", "tunnel_id", "tunnel", "direction", "tos",
  },
  fields = {
    { name = "ip_version", unit = "number", help = "4 or 6; part of every key" },
    { name = "packets", unit = "packets",
      help = "TCP packets that begin with a request, a response or a broken one; merged ones as one" },
    { name = "requests", unit = "packets", help = "those that begin with a request line" },
    { name = "responses", unit = "packets", help = "those that begin with a status line" },
    { name = "errors", unit = "packets", help = "responses with a status of 400 or more" },
    { name = "broken", unit = "packets",
      help = "a request line without HTTP/1, a status line without a status: only their addresses are known" },
  },
  features = {
    classes = {
      help = "responses by their status: 100 to 199, 200 to 299 … 500 to 599",
      fields = { { name = "statuses", list = true } },
      unit = "packets",
    },
    pair = {
      help = "a response counts with the method, host and path of its connection's last request (of both ways: hook tc)",
      fields = {
        { name = "answered", help = "responses, but for 100 to 199, to requests that were seen" },
        { name = "wait", unit = "ns", help = "from those requests to the beginning of their responses, all together" },
      },
      unit = "packets",
    },
    tunnel = {
      help = "messages inside tunnels too; the key is that of the innermost IP headers",
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
    look = {
      default = 512,
      type = "count",
      unit = "bytes",
      min = 64,
      max = 1024,
      help = "of each packet's payload that are searched for the end of its first line and for Host",
    },
    host_bytes = { default = 64, type = "count", unit = "bytes", min = 8, max = 128, help = "of a host that are kept" },
    path_bytes = { default = 64, type = "count", unit = "bytes", min = 8, max = 128, help = "of a path that are kept" },
    query = {
      default = 0,
      type = "count",
      min = 0,
      max = 1,
      help = "1: a path is kept with what follows its question mark",
    },
    connections = {
      default = 16384,
      type = "count",
      unit = "connections",
      min = 1,
      max = 1048576,
      help = "whose last request `pair` remembers; the least recently used go",
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
