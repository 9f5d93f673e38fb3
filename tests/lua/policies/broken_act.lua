-- SPDX-License-Identifier: Apache-2.0
-- 4: "r": rule: act: act 1 is a string (one of add "set", log, log "text", emit "name", notify "receiver", capture { … }, function(w, key))
return policy "p" { always = { counter "totals" {} }, rules = {
  rule "r" { when = rate("totals.packets"):above "5/s", act = { "victims" } },
} }
