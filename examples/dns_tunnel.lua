-- SPDX-License-Identifier: Apache-2.0
-- DNS tunnelling: zones with many long names. Watch for: the level tunnel, zones named, and who asks for them.
local iface  = option "iface"  { type = "iface", help = "the interface (default: the default route's)" }
local length = option "length" { default = "52B", help = "a name this long, as a zone's longest of a window, is odd" }
local names  = option "names"  { default = 40, help = "different names of one zone in ten seconds that are odd" }
local many   = option "many"   { default = "20/s", help = "queries a second that make a closer look worth it" }

-- A row for every zone is cheap; names and clients are looked at only when there is a reason.
local zones   = dns "zones"   { key = "zone" }
local asked   = dns "asked"   { key = { "zone", "name" }, name_bytes = 128 }
local clients = dns "clients" { key = { "zone", "client" } }

return policy "dns-tunnel" {
  attach = { iface = iface, hook = "tc" },
  window = "10s",
  always = { zones },
  levels = {
    level "calm"   {},
    level "look"   { asked },
    level "tunnel" { asked, clients, longest = "1h" },
  },
  rules = {
    rule "long" {
      per = "zones.zone",
      when = all { rate("zones.queries"):above(many / 10), max("zones.name_length"):above(length) },
      clear = any { max("zones.name_length"):below(length), rate("zones.queries"):below(many / 20) }:lasting "1m",
      hold = "look",
    },
    rule "tunnel" {
      per = "asked.zone",
      when = all { distinct("asked.name"):above(names), max("asked.name_length"):above(length) },
      clear = distinct("asked.name"):below(names / 4):lasting "1m", hold = "tunnel", act = { log },
    },
  },
  exports = { records "clients" { top = { 50, "queries" } }, records "asked" { top = { 50, "queries" } } },
}
