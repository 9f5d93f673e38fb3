-- SPDX-License-Identifier: Apache-2.0
-- For test_reload_files.sh: its loading takes a while, and needs a module.
local settings = require "settings"
print "loading"
local sum = 0
for i = 1, settings.rounds do sum = sum + i % 7 end
print "loaded"

return policy "slow" {
  attach = { iface = option "iface" { type = "iface" }, hook = "tc.ingress", mode = settings.mode },
  window = "20ms",
  always = { counter "totals" {} },
  levels = { level "calm" {}, level "deep" { flows "to" { key = "dst", entries = settings.entries } } },
  rules = {
    rule "surge" { when = rate("totals.packets"):above "1/s", clear = rate("totals.packets"):below "0/s", hold = "deep",
                   trigger = "10ms" },
  },
}
