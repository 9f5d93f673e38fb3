-- SPDX-License-Identifier: Apache-2.0
-- 6: rate all.packets - sum all.bytes: rate all.packets is a rate, sum all.bytes is a size; they do not go together (give both the same unit)
local from = flows "from" { key = "src" }
return policy "p" { always = { from, counter "all" {} }, rules = {
  rule "r" {
    when = (rate("all.packets") - sum("all.bytes")):above "5/s" },
} }
