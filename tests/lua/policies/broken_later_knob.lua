-- SPDX-License-Identifier: Apache-2.0
-- 3: "from": flows: sample is not built yet (leave it out)
return policy "p" { always = { flows "from" { key = "src", sample = 10 } } }
