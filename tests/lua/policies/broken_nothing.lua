-- SPDX-License-Identifier: Apache-2.0
-- the file returns nothing (end it with return policy "name" { … })
local _ = policy "p" { always = { counter {} } }
