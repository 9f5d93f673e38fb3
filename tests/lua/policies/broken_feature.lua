-- SPDX-License-Identifier: Apache-2.0
-- 3: flows "to": no feature "tcp_flag" (did you mean "tcp_flags"?)
return policy "p" { always = { flows "to" { features = { "tcp_flag" } } } }
