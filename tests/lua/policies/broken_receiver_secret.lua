-- SPDX-License-Identifier: Apache-2.0
-- 5: "soc": receiver: headers: Authorization: a secret is in a file or in a variable of the environment (like { file = "/etc/perilune/token" })
return policy "p" { always = { counter "totals" {} },
  rules = { rule "r" { when = rate("totals.packets"):above "5/s", act = { notify "soc" } } },
  receivers = { receiver "soc" { webhook = "https://a/", headers = { Authorization = { prefix = "Bearer " } } } },
}
