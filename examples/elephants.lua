-- SPDX-License-Identifier: Apache-2.0
-- Elephant flows: the few that carry most, at a bounded cost. Watch for: who sends them, `budget` events.
local iface = option "iface" { type = "iface", help = "the interface (default: the default route's)" }
local big   = option "big"   { default = "20Mbit/s", help = "a sender of this rate has an elephant" }
local busy  = option "busy"  { default = "50Mbit/s", help = "traffic that makes single flows worth a look" }

-- Every packet while there are few; one in so many when there are more, or the budget says so. SYN, FIN and RST are
-- always kept, and figures stand for all packets.
local all_flows = flows "flow" { key = "5tuple", sample = { from = 1, to = 256, target = "2k/s" } }

return policy "elephants" {
  attach = { iface = iface, hook = "tc" },
  window = "1s",
  always = { counter "all" {} },
  levels = {
    level "calm" {},
    level "busy" { all_flows, longest = "1h" },
  },
  rules = {
    rule "busy" {
      when = rate("all.bytes"):above(busy), clear = rate("all.bytes"):below(busy / 2):lasting "30s", hold = "busy",
    },
    rule "elephant" {
      per = "flow.src",
      when = rate("flow.bytes"):above(big), clear = rate("flow.bytes"):below(big / 2):lasting "5s", act = { log },
    },
  },
  budget = { cost = "150ns/packet", cpu = "5%", shed = { "flow" } },
  exports = { records "flow" { top = { 50, "bytes" } } },
}
