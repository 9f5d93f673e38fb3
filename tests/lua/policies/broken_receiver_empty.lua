-- SPDX-License-Identifier: Apache-2.0
-- 5: receiver "soc" has neither a webhook nor a command (write webhook = "https://…" or command = { "program" })
return policy "p" { always = { counter "totals" {} },
  rules = { rule "r" { when = rate("totals.packets"):above "5/s", act = { notify "soc" } } },
  receivers = { receiver "soc" { group = "30s" } },
}
