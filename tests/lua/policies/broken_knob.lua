-- SPDX-License-Identifier: Apache-2.0
-- 3: flows: entries: 0 is too small (at least 1)
return policy "p" { always = { flows { entries = 0 } } }
