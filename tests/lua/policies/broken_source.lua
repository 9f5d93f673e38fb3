-- SPDX-License-Identifier: Apache-2.0
-- 3: source "own": file: "../own.bpf.c" is not beside the policy (name a file in the policy's directory, or below it)
return policy "p" { always = { source "own" { file = "../own.bpf.c" } } }
