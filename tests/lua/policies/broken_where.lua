-- SPDX-License-Identifier: Apache-2.0
-- 6: sum of flows "from": where "bites > 5": there is no field "bites" (did you mean "bytes"?) (like "dport == 53 and bytes > 1e3")
local from = flows "from" { key = "src" }
return policy "p" { always = { from, counter "all" {} }, rules = {
  rule "r" {
    when = sum("from.bytes", "bites > 5"):above "1kB" },
} }
