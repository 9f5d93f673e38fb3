-- SPDX-License-Identifier: Apache-2.0
--
-- The configuration of perilune serve: copy it to /etc/perilune/daemon.lua, and check it with perilune check. Files are
-- beside it, unless their paths begin with a slash; they and the directory have to be readable for the user perilune.
return daemon {
  -- host = "web-3", site = "fra1",   -- labels of every event and log line
  listen = {
    -- Root, the user perilune and, for the role read, members of the group perilune.
    { unix = "/run/perilune/perilune.sock", mode = "0660", group = "perilune", role = "read" },
    -- Other machines, with TLS and a token (perilune token NAME --credentials FILE) or a client's certificate:
    -- { tcp = "0.0.0.0:9443", certificate = "tls.crt", key = "tls.key", clients = "ca.pem" },
  },
  -- credentials = "credentials",
  policies = {
    -- policy "edge" { file = "edge.lua", set = { iface = "eth0" } },
  },
}
