-- SPDX-License-Identifier: Apache-2.0
-- 3: flows: the feature deep requires timing (features = { "timing", "deep" })
return policy "p" { always = { flows { features = { "deep" } } } }
