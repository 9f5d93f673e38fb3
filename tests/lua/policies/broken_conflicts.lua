-- SPDX-License-Identifier: Apache-2.0
-- 3: flows: the features light and timing exclude each other (leave one out)
return policy "p" { always = { flows { features = { "timing", "light" } } } }
