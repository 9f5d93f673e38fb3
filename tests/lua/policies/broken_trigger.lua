-- SPDX-License-Identifier: Apache-2.0
-- 6: rule "r": trigger: rate to.packets cannot be tested in the kernel: the rows of to have keys (use a counter's fields)
return policy "p" { levels = { level "a" { flows "to" { key = "dst" } }, level "b" { flows "other" {}, counter "c" {} } }, rules = {
  -- The kernel counts these rows, but does not add them up.
  --
  rule "r" { when = rate("to.packets"):above "5/s", trigger = "50ms" },
} }
