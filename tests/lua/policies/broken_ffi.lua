-- SPDX-License-Identifier: Apache-2.0
-- 3: ffi is not available in a policy: a policy has no access to memory and to the compiler (--trusted gives it
local ffi = require "ffi"
return policy "p" { always = { counter {} } }
