-- SPDX-License-Identifier: Apache-2.0
-- 3: flows: "to-dst" is no name (letters, digits and _, beginning with a letter; at most 31)
return policy "p" { always = { flows "to-dst" {} } }
