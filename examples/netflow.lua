-- SPDX-License-Identifier: Apache-2.0
-- NetFlow-like accounting: every flow of both ways, a record a minute. Watch for: `records` events in its fields.
local iface   = option "iface"   { type = "iface", help = "the interface (default: the default route's)" }
local active  = option "active"  { default = "60s", help = "how long a record covers at most (the active timeout)" }
local entries = option "entries" { default = 65536, help = "flows of one record's time; what has no room is counted" }

return policy "netflow" {
  attach = { iface = iface, hook = "tc" },
  window = active,
  always = {
    netflow "flow" { key = "v9", entries = entries },
  },
  rules = {
    rule "full" {                              -- nothing is lost silently
      when = count("flow"):above(entries * 0.9), clear = count("flow"):below(entries * 0.7), act = { log },
    },
  },
  exports = { records "flow" {} },             -- every row
}
