#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest: once
#
# A rate that follows load: a probe with a target looks at one packet in more while there are many, and at every packet again when there are
# few. What it makes of them stands for all, and what is not sampled is exact throughout.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq setsid
net_up
frames "$OUT/frames" "$AMAC" "$BMAC" 16
cat >"$OUT/policy.lua" <<-EOF
	return policy "follows" {
	  attach = { iface = "vb", hook = "tc.ingress" }, window = "1s",
	  always = { counter "totals" {}, flows "some" { key = "src", sample = { target = "1k/s", to = 64 } } },
	}
EOF

# rates: of the sampled probe, one a window, oldest first.
rates() { json "$OUT/run" 'select(.event == "records" and .probe == "some") | .sample_rate'; }

# sum PROBE: packets of its records.
sum() { json "$OUT/run" "select(.event == \"records\" and .probe == \"$1\") | .rows[].packets" | awk '{ s += $1 } END { print s + 0 }'; }

# traffic FLAGS…: in a session of its own, since trafgen sends from a child.
traffic() {
	ip netns exec "$A" setsid trafgen -q -C -P 1 -o va -c "$OUT/frames" "$@" >"$OUT/trafgen" 2>&1 &
	TRAFFIC=$!
	PIDS="$PIDS $TRAFFIC"
}

quiet() {
	kill -KILL -"$TRAFFIC"
	finish "$TRAFFIC"
}

before=$(arrived)
start "$B" "$OUT/run" run "$OUT/policy.lua" --json
start_event "$OUT/run" "$PID"
traffic -b 20000pps
wait_for "[ \"\$(rates | grep -cx 32)\" -ge 3 ]" 60 'one packet in 32, three windows long' # 20,000 by 1,000, and a power of two
quiet
traffic -t 5ms
wait_for "rates | tail -n 2 | grep -qx 1" 60 'every packet again'
quiet
wait_for idle 30
stop "$PID"
assert_eq $(($(arrived) - before)) "$(sum totals)" 'packets of the probe that is not sampled'
all=$(sum totals) some=$(sum some)
awk "BEGIN { exit !($some > 0.9 * $all && $some < 1.1 * $all) }" || fail "$some is no estimate of $all packets"
"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/run"
say "$all packets, by samples $some; rates: $(rates | uniq | xargs)"
assert_clean "$B" vb
