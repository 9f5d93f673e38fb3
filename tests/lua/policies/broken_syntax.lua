-- SPDX-License-Identifier: Apache-2.0
-- 5: '}' expected (to close '{' at line 3) near 'levels'
return policy "p" {
  window = "1s"
  levels = {},
}
