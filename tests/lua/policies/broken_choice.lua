-- SPDX-License-Identifier: Apache-2.0
-- 3: "to": flows: key: unknown value "dest" (did you mean "dst"? one of "5tuple", "dst", "pair", "src", or a list of fields like { "src", "dst" })
return policy "p" { always = { flows "to" { key = "dest" } } }
