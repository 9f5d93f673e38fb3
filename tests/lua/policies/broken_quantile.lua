-- SPDX-License-Identifier: Apache-2.0
-- 5: quantile: which one? nothing is no share of the rows (like quantile("to.bytes", 0.99))
local from = flows "from" { key = "src" }
return policy "p" { always = { from, counter "all" {} }, rules = {
  rule "r" { when = quantile("from.bytes"):above "1kB" },
} }
