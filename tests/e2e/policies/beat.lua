-- SPDX-License-Identifier: Apache-2.0
-- A level that comes and goes by the clock: every change of it has to be exact.
local iface = option "iface" { type = "iface" }
local to = flows "to" { key = "dst" }

return policy "beat" {
  attach = { iface = iface, hook = "tc" },
  window = "300ms",
  always = { counter "totals" {} },
  levels = { level "calm" {}, level "closer" { to, window = "200ms" } },
  schedules = { schedule "beat" { every = "2s", lasting = "1s", hold = "closer" } },
}
