-- SPDX-License-Identifier: Apache-2.0
-- 3: attach: the hook xdp has no mode "tcx" (one of auto, generic, native)
return policy "p" { attach = { hook = "xdp", mode = "tcx" }, always = { counter {} } }
