-- SPDX-License-Identifier: Apache-2.0
-- SYN flood: two counters until connection attempts surge, then per destination, then who floods the victims.
-- Watch for: alert when attempts pass `surge`, siege with victims and attackers named, calm after the flood.
local iface = option "iface" { type = "iface", help = "the interface (default: the default route's)" }
local hook  = option "hook"  { default = "tc.ingress", one_of = { "xdp", "tc.ingress", "tc" } }
local surge = option "surge" { default = "1k/s", help = "connection attempts a second not normal here" }
local quiet = option "quiet" { default = "10s", help = "how long it has to be quiet before backing off" }

-- An attempt is a SYN that is not the SYN/ACK of an answer.
local function attempts(probe)
  return (rate(probe .. ".syn") - rate(probe .. ".syn_ack")):named("attempts " .. probe)
end

local more         = attempts("totals") - attempts("totals"):ewma "5m"
local more_packets = rate "totals.packets" - rate("totals.packets"):ewma "5m"

local to   = flows "to"   { key = "dst", features = { "tcp_flags" } }
local from = flows "from" { key = "src", features = { "tcp_flags" }, scope = "victims" }

return policy "syn-flood" {
  attach = { iface = iface, hook = hook },
  window = "1s",
  always = { counter "totals" { features = { "tcp_flags" } } },  -- runs at every level
  levels = {                                                     -- cheapest first
    level "calm"  {},
    level "alert" { to, window = "100ms", lease = "30s" },
    level "siege" { to, from, window = "100ms", lease = "30s", longest = "10m" },
  },
  sets = {
    set "victims"   { of = "dst", max = 64,    ttl = "5m" },
    set "attackers" { of = "src", max = 10000, ttl = "5m" },
  },
  rules = {
    rule "surge" {                           -- visitors go on after their SYN, be there ever so many of them
      trigger = "50ms",                      -- tested in the kernel, between windows
      when = any {
        all { attempts("totals"):above(surge), attempts("totals"):above(rate("totals.packets") * 0.55) },
        attempts("totals"):above(surge * 10),
      },
      clear = attempts("totals"):below(surge / 4):lasting(quiet), hold = "alert",
    },
    rule "hidden" {                          -- the same of what has come beside what is usual
      when = all { more:above(surge), more:above(more_packets * 0.55) },
      clear = attempts("totals"):below(surge / 4):lasting(quiet), hold = "alert",
    },
    rule "victim" {                                              -- one instance per destination
      per = "to.dst",
      when = all { attempts("to"):above(surge / 2), share("to.syn", "to.packets"):above "60%" },
      clear = attempts("to"):below(surge / 8):lasting(quiet),
      hold = "siege", act = { add "victims", log },
    },
    rule "attacker" {
      per = "from.src",
      when = attempts("from"):above(surge / 10), clear = attempts("from"):below(surge / 100):lasting(quiet),
      act = { add "attackers" },
    },
  },
  exports = { records "to" { top = { 20, "syn" } }, records "from" { top = { 99, "syn" } }, metrics "totals" { "syn" } }
}
