-- SPDX-License-Identifier: Apache-2.0
-- 4: to.syn needs the feature tcp_flags of probe to (features = { "tcp_flags" })
return policy "p" { always = { flows "to" { key = "dst" } }, rules = {
  rule "r" { when = rate("to.syn"):above "5/s" },
} }
