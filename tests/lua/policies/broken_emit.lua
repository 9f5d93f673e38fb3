-- SPDX-License-Identifier: Apache-2.0
-- 5: emit "flood": rate is neither text, number nor boolean (the measures of the rule's conditions are in the event's values)
return policy "p" { always = { counter "totals" {} }, rules = {
  rule "r" { when = rate("totals.packets"):above "5/s",
    act = { emit "flood" { rate = rate "totals.packets" } } },
} }
