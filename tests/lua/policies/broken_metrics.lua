-- SPDX-License-Identifier: Apache-2.0
-- 4: metrics: from.syn needs the feature tcp_flags of probe from (features = { "tcp_flags" })
return policy "p" { always = { flows "from" { key = "src" } },
  exports = { metrics "from" { "packets", "syn" } },
}
