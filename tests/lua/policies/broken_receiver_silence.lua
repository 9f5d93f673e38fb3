-- SPDX-License-Identifier: Apache-2.0
-- 5: "soc": receiver: silence: a silence: from: "25:00" is no time (like "22:00", "2026-01-31" or "2026-01-31T06:00:00Z")
return policy "p" { always = { counter "totals" {} },
  rules = { rule "r" { when = rate("totals.packets"):above "5/s", act = { notify "soc" } } },
  receivers = { receiver "soc" { command = "true", silence = { from = "25:00" } } },
}
