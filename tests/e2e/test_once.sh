# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
#
# A router on a stick: each packet crosses its interface twice, in and out again. With `once`, flows counts it once.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need jq ping
net_up
SENT=40
run_in "$B" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.vb.send_redirects=0 \
	net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.vb.rp_filter=0
neighbour "$A" va "$BMAC" 10.77.0.8
neighbour "$B" vb "$AMAC" 10.77.0.9
ip -n "$A" route add 10.99.0.0/24 via 10.77.0.8
ip -n "$B" route add 10.99.0.0/24 via 10.77.0.9

cat >"$OUT/once.lua" <<'X1'
return policy "once" {
  attach = { iface = "vb", hook = "tc" }, window = "100ms",
  always = { flows "each" { filter = "dst net 10.99.0.0/24" }, flows "first" { filter = "dst net 10.99.0.0/24", features = { "once", "direction" } } },
}
X1
start "$B" "$OUT/run" run "$OUT/once.lua" --json
start_event "$OUT/run" "$PID" 2
# Nobody answers.
run_in "$A" ping -q -c "$SENT" -i 0.002 -W 1 10.99.0.1 >"$OUT/ping" 2>&1 || :
grep -q "^$SENT packets transmitted" "$OUT/ping" || fail "ping: $(cat "$OUT/ping")"
stop "$PID"
# sum PROBE FIELD
sum() {
	json "$OUT/run" "select(.event == \"records\" and .probe == \"$1\") | .rows[] | .$2" | awk '{ n += $1 } END { print n + 0 }'
}
assert_eq $((2 * SENT)) "$(sum each packets)" 'seen in and out'
assert_eq "$SENT" "$(sum first packets)" 'counted where it was first seen'
assert_eq "$SENT" "$(sum first elsewhere)" 'seen again'
assert_eq ingress "$(json "$OUT/run" 'select(.event == "records" and .probe == "first") | .rows[] | .direction' | sort -u)" 'first seen'
assert_clean "$B" vb
say "$SENT packets through a router on a stick, each counted once"
