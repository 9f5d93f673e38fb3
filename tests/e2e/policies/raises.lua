-- SPDX-License-Identifier: Apache-2.0
-- Two mistakes that show only while it runs: a rule that raises in its third window, and an act that does in the fourth.
local iface = option "iface" { type = "iface" }

local function third(w)
  if w.seq < 3 then return false end
  return w.nonsense.field > 1
end

return policy "raises" {
  attach = { iface = iface },
  window = "20ms",
  always = { counter "totals" {} },
  rules = {
    rule "broken" { when = third, act = log },
    rule "sound"  { when = function(w) return w.seq % 2 == 0 end, act = function(w) error("no " .. w.seq % 1) end },
  },
}
