-- SPDX-License-Identifier: Apache-2.0
-- 3: string.dump is not available in a policy: there is no use for bytecode (--trusted gives it
local code = ("").dump(function() end)
return policy "p" { always = { counter {} } }
