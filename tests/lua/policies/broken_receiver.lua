-- SPDX-License-Identifier: Apache-2.0
-- 4: rule "r": notify "soc": no such receiver (did you mean "sec"?)
return policy "p" { always = { counter "totals" {} },
  rules = { rule "r" { when = rate("totals.packets"):above "5/s", act = { notify "soc" } } },
  receivers = { receiver "sec" { command = "true" } },
}
