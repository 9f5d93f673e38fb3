-- SPDX-License-Identifier: Apache-2.0
-- 3: unknown name "flow" (did you mean "flows"?)
local to = flow "to" {}
return policy "p" { always = { to } }
