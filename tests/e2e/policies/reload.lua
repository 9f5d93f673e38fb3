-- SPDX-License-Identifier: Apache-2.0
-- For test_reload.sh, which changes it while it runs: deep while there is traffic, with a set that limits a probe.
local iface = option "iface" { type = "iface" }
local hook  = option "hook"  { default = "tc", one_of = { "xdp", "tc.ingress", "tc.egress", "tc" } }

local from = flows "from" { key = "src", entries = 64 }
local deep = flows "deep" { key = "5tuple", scope = "talkers" }

return policy "reload" {
  attach = { iface = iface, hook = hook },
  window = "100ms",
  always = { counter "totals" {} },
  levels = { level "calm" {}, level "siege" { from, deep } },
  sets = { set "talkers" { of = "src", max = 16 } },
  rules = {
    rule "any"    { when = rate("totals.packets"):above "1/s", clear = rate("totals.packets"):below "0/s", hold = "siege" },
    rule "talker" { per = "from.src", when = rate("from.packets"):above "1/s", clear = rate("from.packets"):below "0/s",
                    act = { add "talkers" } },
  },
}
