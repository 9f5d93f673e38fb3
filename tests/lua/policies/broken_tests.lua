-- SPDX-License-Identifier: Apache-2.0
-- 3: tests is a word of tests, not of policies (perilune test FILE runs them)
return tests "p.lua" { test "t" {} }
