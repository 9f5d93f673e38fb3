-- SPDX-License-Identifier: Apache-2.0
-- 5: "r": rule has no key "wen" (did you mean "when"?)
return policy "p" {
  always = { counter "totals" {} },
  rules = { rule "r" {
    wen = rate("totals.packets"):above "5/s",
  } },
}
