-- SPDX-License-Identifier: Apache-2.0
std = "luajit"
max_line_length = 120
self = false -- methods may leave self unused
exclude_files = {
  "build", "build-*", ".cache",
  "tests/lua/policies/broken_*.lua", -- wrong on purpose
}

-- The words of the policy language; templates are words too. Kept in step with lua/perilune/policy/language.lua.
local words = {
  "policy", "option", "level", "rule", "set", "schedule", "receiver", "metrics", "records", "source",
  "rate", "sum", "mean", "min", "max", "count", "distinct", "share", "quantile", "entropy",
  "all", "any", "add", "notify", "log", "capture", "emit",
  "arp", "counter", "cryptomining", "ddos", "dns", "flows", "http", "icmp", "netflow", "payload", "quic", "tcp", "tls",
}

files["examples"] = { read_globals = words }
files["packaging"] = { read_globals = { "daemon", "policy" } } -- the language of configurations
files["tests/lua/policies"] = { read_globals = words }
files["tests/**/*.policy.lua"] = { read_globals = words }
files["tests/e2e"] = { read_globals = words }
files["tests/fault"] = { read_globals = words }
files["tests"] = { max_line_length = 140 } -- tables of cases, a line each
files["tests/lua/*_spec.lua"] = { std = "luajit+busted" }
