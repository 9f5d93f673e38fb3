-- SPDX-License-Identifier: Apache-2.0
-- 3: policy: levels: level "calm" has no body (write level "calm" {} after it)
return policy "p" { always = { counter {} }, levels = { level "calm" } }
