-- SPDX-License-Identifier: Apache-2.0
-- 3: cannot require "../secrets" (name a module beside the policy, without .lua)
local secrets = require "../secrets"
return policy "p" { always = { counter {} } }, secrets
