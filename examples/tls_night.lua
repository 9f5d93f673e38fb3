-- SPDX-License-Identifier: Apache-2.0
-- TLS inventory at night: which servers are called, with which versions. Watch for: the level inventory from 1 to 5.
local iface = option "iface" { type = "iface", help = "the interface (default: the default route's)" }
local from  = option "from"  { default = "01:00", help = "when the night begins" }
local to    = option "to"    { default = "05:00", help = "when it ends" }
local zone  = option "zone"  { default = "UTC", help = "whose clock that is, like Europe/Berlin" }

local called = tls "called" { key = { "server", "sni", "version" }, features = { "ja4" } }
-- Versions before TLS 1.2 are worth a word at any hour: a ClientHello that offers at most TLS 1.1.
local old = tls "old" { key = { "client", "version" }, filter = "tcp[((tcp[12:1] & 0xf0) >> 2):1] = 0x16" }

return policy "tls-night" {
  attach = { iface = iface, hook = "tc" },
  window = "10s",
  always = { counter "all" {} },
  levels = {
    level "day"       {},
    level "inventory" { called, old, window = "1m" },
  },
  schedules = {
    schedule "night" { between = { from, to }, zone = zone, hold = "inventory" },
  },
  rules = {
    rule "outdated" {
      per = "old.client",
      when = count("old", "version == 'tls1_0' or version == 'tls1_1' or version == 'ssl3'"):above(0), act = { log },
    },
  },
  exports = { records "called" {} },
}
