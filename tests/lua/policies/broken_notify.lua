-- SPDX-License-Identifier: Apache-2.0
-- 5: rule "r": notify "soc": no such receiver (write receivers = { receiver "soc" { webhook = "https://…" } })
return policy "p" { always = { counter "totals" {} },
  rules = { rule "r" { when = rate("totals.packets"):above "5/s",
    act = { notify "soc" } } },
}
