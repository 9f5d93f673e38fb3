-- SPDX-License-Identifier: Apache-2.0
-- Everything that the language has so far, once.
local shared = require "lib.shared"
local iface = option "iface" { type = "iface", help = "where" }
local hook  = option "hook"  { default = "tc.ingress", one_of = { "xdp", "tc.ingress", "tc" } }
local surge = option "surge" { default = "2k/s", min = "10/s", max = "1M/s", help = "too many" }
local deep  = option "deep"  { default = false }
local rows  = option "rows"  { default = 64, min = 1 }
local quiet = option "quiet" { type = "duration", default = "10s" }

local to = flows "to" { key = "dst", features = { "tcp_flags" }, entries = rows }
local all_syn, syn_to = rate "totals.syn", rate "to.syn"

return policy "rich" {
  attach = { iface = iface, hook = hook, mode = "tcx" },
  window = "1s",
  always = { counter "totals" { features = { "tcp_flags" } } },
  levels = {
    level "calm" {},
    level "alert" { to, window = "100ms" },
    level "siege" { to, flows { key = "src", features = { "timing", "deep" } }, window = "100ms", lease = "30s",
                    longest = "10m" },
  },
  sets = { set "victims" { of = "dst", max = rows, ttl = "5m" } },
  rules = {
    rule "surge" { when = all_syn:above(surge), clear = all_syn:below(surge / 4):lasting(quiet), hold = "alert" },
    rule "victim" {
      per = "to.dst",
      when = all { syn_to:above(surge / 2), share("to.syn", "to.packets"):above "60%" },
      clear = syn_to:below(surge / 8):lasting "10s",
      hold = "siege", act = { add "victims", log, log("on " .. hook), function() end },
    },
    rule "odd" { when = any { function(w) return w.seq == 3 end, shared.busy("totals", "5k/s") }, act = log },
  },
  exports = { records "to" { top = { 100, "syn" } }, records "totals" {} },
}, deep
