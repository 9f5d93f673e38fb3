-- SPDX-License-Identifier: Apache-2.0
-- A registry of templates that needs no files: counter and flows as the real ones are, and one that cannot be read.
local HOOKS = { "xdp", "tc.ingress", "tc.egress" }
local COUNTS = {
  { name = "packets", unit = "packets" }, { name = "skbs", unit = "skbs" }, { name = "bytes", unit = "bytes" },
}
local TCP_FLAGS = { unit = "packets", fields = { "syn", "syn_ack", "fin", "rst", "psh", "ack", "urg", "ece", "cwr" } }

local manifests = {
  counter = { name = "counter", rows = false, fields = COUNTS, features = { tcp_flags = TCP_FLAGS }, knobs = {}, hooks = HOOKS,
    windows = { { map = "rows", kind = "array", entries = 2, role = "rows", index = "direction" } },
  },
  flows = {
    name = "flows", rows = true, fields = COUNTS, hooks = HOOKS,
    key = {
      default = "5tuple",
      choices = { src = { "src" }, dst = { "dst" }, pair = { "src", "dst" }, ["5tuple"] = { "src", "dst", "sport", "dport", "proto" } },
    },
    key_fields = {
      { name = "src", unit = "address" }, { name = "dst", unit = "address" }, { name = "sport", unit = "port" },
      { name = "dport", unit = "port" }, { name = "proto", unit = "number" },
    },
    features = {
      tcp_flags = TCP_FLAGS, timing = { unit = "time", fields = { "first", "last" } },
      deep = { unit = "bytes", fields = { { name = "payload", unit = "bytes" } }, requires = { "timing" } },
      light = { fields = {}, conflicts = { "timing" } },
    },
    knobs = { entries = { default = 65536, type = "count", unit = "rows", min = 1, max = 16777216 } },
    windows = { { map = "rows", kind = "map", entries = "entries", role = "rows" } },
  },
  egress_only = { name = "egress_only", rows = false, fields = COUNTS, features = {}, knobs = {}, hooks = { "tc.egress" } },
}

local registry = {}

function registry.get(_, name)
  if manifests[name] then return manifests[name] end
  return nil, "its manifest is torn"
end

function registry.names()
  return { "counter", "egress_only", "flows", "torn" }
end

return registry
