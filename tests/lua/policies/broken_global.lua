-- SPDX-License-Identifier: Apache-2.0
-- 3: "surge" would be a global (write local surge)
surge = option "surge" { default = "2k/s" }
return policy "p" { always = { counter {} } }
