# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: cost 25
# ctest: once
#
# What the grace period is for. In a build for tests, programs take their time between reading the epoch and counting. Without the
# grace period the runtime then reads and clears halves that packets are still on their way to: rows and totals of a window no longer
# agree. With it, on the same traffic, they agree in every window, and nothing is lost.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq
net_up
PERILUNE=$PERILUNE_BUILD/tests/perilune_faults
[ -x "$PERILUNE" ] || fail "$PERILUNE is missing (cmake -DPERILUNE_FAULTS=ON)"
export PERILUNE_FAULT_DELAY=20000
rows=$POLICIES/rows.lua

# off FILE: by how many packets rows + loss and the totals of a window differ, summed over the windows.
off() {
	jq -s '(map(select(.event == "records")) | map({key: (.seq | tostring), value: ([.rows[].packets] | add // 0)})
		| from_entries) as $rows
		| [.[] | select(.event == "window")
			| ($rows[.seq | tostring] // 0) + .loss.map_full + .loss.not_parsed - .packets | fabs] | add' "$1"
}

# loaded FILE: a run under load with windows as short as they can be.
loaded() {
	frames "$OUT/in" "$AMAC" "$BMAC" 64
	start "$B" "$1" run "$rows" --set iface=vb --set hook=xdp --set window=5ms --json
	run=$PID
	start_event "$1" "$run"
	from_a=$(sent "$A" va) rx=$(arrived)
	flood "$A" va "$OUT/in" 40000
	settle "$from_a" 40000
	stop "$run"
}

export PERILUNE_FAULT_NO_GRACE=1
loaded "$OUT/without"
without=$(off "$OUT/without")
unset PERILUNE_FAULT_NO_GRACE
loaded "$OUT/with"
expected=$(($(arrived) - rx))
say "rows and totals differ by $without packets without the grace period, by $(off "$OUT/with") with it"
[ "$without" -ge 100 ] || fail "only $without packets went astray without the grace period, so this shows little"
assert_eq 0 "$(off "$OUT/with")" 'packets astray with the grace period'
judge "$OUT/with" --packets "$expected" --windows 10 --probe all
assert_clean "$B" vb
