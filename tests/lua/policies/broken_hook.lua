-- SPDX-License-Identifier: Apache-2.0
-- 3: egress_only "egress_only" does not run at the hook tc.ingress (one of tc.egress)
return policy "p" { always = { egress_only {} } }
