-- SPDX-License-Identifier: Apache-2.0
-- 3: source is not built yet (leave it out)
return policy "p" { always = { source "own" { file = "own.bpf.c" } } }
