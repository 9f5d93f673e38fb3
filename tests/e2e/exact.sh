# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What the tests of exact counts share, after lib.sh: traffic of a known amount, and the judgement of a run.

# shellcheck disable=SC2034 # for the tests
POLICIES=$PERILUNE_SOURCE/tests/e2e/policies
PYTHON=/usr/bin/python3

# frames FILE SOURCE_MAC DESTINATION_MAC [KEYS]: a trafgen packet: UDP from KEYS source ports (1024) to an address nobody has,
# so that nothing answers.
frames() {
	say "{ eth(da=$3, sa=$2), ipv4(da=10.77.0.99, sa=10.77.0.77), udp(sp=dinc(1024, $((1023 + ${4:-1024}))), dp=9), fill(0x78, 64) }" >"$1"
}

# flood NAMESPACE IF FRAMES_FILE NUMBER: through the qdisc layer, so that the hooks for what goes out see it as well.
flood() {
	run_in "$1" trafgen -q -C -P 1 -o "$2" -c "$3" -n "$4" >"$OUT/trafgen" 2>&1 || fail "trafgen: $(cat "$OUT/trafgen")"
}

# Frames that were given to a device in NAMESPACE, whether the other end of the pair took them or had no room.
sent() { say $(($(link_counter "$1" "$2" tx_packets) + $(link_counter "$1" "$2" tx_dropped))); }

# The kernel's own count of what crossed vb, by direction. Going out, that is also what the other end then had no room for: the
# hook comes before it.
arrived() { link_counter "$B" vb rx_packets; }
departed() { sent "$B" vb; }

# No packet that was counted as arrived waits before the hooks (softnet_stat's 12th column: a CPU's backlog).
idle() { ! awk '$12 !~ /^0+$/ { busy = 1 } END { exit !busy }' /proc/net/softnet_stat; }

# settle SENT DROPPED NUMBER: until the pair has passed on or dropped that many frames since va had SENT and DROPPED in its counters.
settle() {
	wait_for "[ \$(sent '$A' va) -ge $(($1 + $2)) ]" 20 "the last of $2 frames"
	wait_for idle 10 'empty backlogs'
}

# judge FILE ARGUMENTS…: schema and sums of a run.
judge() {
	file=$1
	shift
	"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/schema.py" "$file" >"$OUT/schema" || fail "$(cat "$OUT/schema")"
	"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/judge.py" "$file" "$@" || fail "the run in $(basename "$file") does not add up ($*)"
}

# exact NAME POLICY DIRECTIONS FRAMES HOOKS MODE JUDGE_ARGUMENTS… -- SET…: one run under load. DIRECTIONS: in, or both (then as many frames go out).
exact() {
	name=$1 policy=$2 way=$3 number=$4 hooks=$5 mode=$6
	shift 6
	wanted='' # words without blanks
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		wanted="$wanted $1"
		shift
	done
	[ $# = 0 ] || shift
	frames "$OUT/in" "$AMAC" "$BMAC"
	frames "$OUT/out" "$BMAC" "$AMAC"
	rx=$(arrived) tx=$(departed) from_a=$(sent "$A" va)
	start "$B" "$OUT/$name" run "$policy" --json "$@"
	# shellcheck disable=SC2153 # lib.sh sets it
	run=$PID
	start_event "$OUT/$name" "$run" "$hooks"
	assert_eq "$mode" "$(json "$OUT/$name" 'select(.event == "attach") | .mode' | sort -u)" "$name: the mode"
	# From here on: what came before the start event is nobody's.
	rx=$(arrived) tx=$(departed) from_a=$(sent "$A" va)
	if [ "$way" = both ]; then
		(flood "$B" vb "$OUT/out" "$number") &
		PIDS="$PIDS $!"
		other=$!
	fi
	flood "$A" va "$OUT/in" "$number"
	[ "$way" != both ] || finish "$other" 60
	settle "$from_a" "$number"
	stop "$run"
	expected=$(($(arrived) - rx))
	[ "$way" != both ] || expected=$((expected + $(departed) - tx))
	[ "$expected" -ge $((number / 2)) ] || fail "$name: only $expected of $number frames arrived"
	say "$name: the kernel's counter of vb: $expected"
	# shellcheck disable=SC2086 # words
	judge "$OUT/$name" --packets "$expected" $wanted
	assert_clean "$B" vb
}
