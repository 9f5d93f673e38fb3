-- SPDX-License-Identifier: Apache-2.0
-- 4: option "surge" is declared twice (first in line 3)
local surge = option "surge" { default = "2k/s" }
local again = option "surge" { default = "2k/s" }
return policy "p" { always = { counter {} } }, surge, again
