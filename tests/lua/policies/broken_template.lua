-- SPDX-License-Identifier: Apache-2.0
-- 3: template "torn": its manifest is torn
return policy "p" { always = { torn {} } }
