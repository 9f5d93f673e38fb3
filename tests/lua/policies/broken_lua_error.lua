-- SPDX-License-Identifier: Apache-2.0
-- 4: attempt to perform arithmetic on field 'missing' (a nil value)
local t = {}
local x = t.missing + 1
return policy "p" { always = { counter {} }, window = x }
