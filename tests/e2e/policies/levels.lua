-- SPDX-License-Identifier: Apache-2.0
-- Up and down all the time, by the number of the window: a ladder whose every change has to be exact.
local iface = option "iface" { type = "iface" }
local hook  = option "hook"  { default = "tc", one_of = { "xdp", "tc.ingress", "tc.egress", "tc" } }

local to, from = flows "to" { key = "dst" }, flows "from" { key = "5tuple", features = { "tcp_flags", "timing" } }

-- In every `every` windows, those from `first` to `last`.
local function beat(every, first, last)
  return function(w) return w.seq % every >= first and w.seq % every <= last end
end

local function silence(every, first, last)
  local on = beat(every, first, last)
  return function(w) return not on(w) end
end

return policy "levels" {
  attach = { iface = iface, hook = hook },
  window = "20ms",
  always = { counter "totals" {} },
  levels = {
    level "calm"  {},
    level "alert" { to, window = "10ms", lease = "10s" },
    level "siege" { to, from, window = "20ms" },
  },
  rules = {
    rule "short" { when = beat(4, 0, 1), clear = silence(4, 0, 1), hold = "alert" },
    rule "long"  { when = beat(14, 5, 10), clear = silence(14, 5, 10), hold = "siege" },
  },
}
