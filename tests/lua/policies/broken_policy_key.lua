-- SPDX-License-Identifier: Apache-2.0
-- 3: policy has no key "level" (did you mean "levels"?)
return policy "p" { level = {} }
