-- SPDX-License-Identifier: Apache-2.0
-- 5: "soc": receiver: webhook: "soc.example.org/hook" is no URL (like "https://soc.example.org/hook")
return policy "p" { always = { counter "totals" {} },
  rules = { rule "r" { when = rate("totals.packets"):above "5/s", act = { notify "soc" } } },
  receivers = { receiver "soc" { webhook = "soc.example.org/hook" } },
}
