# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: timeout 900
#
# A thousand times up by triggers in the kernel and down by the engine, with packets on every CPU: none is lost or counted twice, neither in
# sum nor in any window of any level. The judges are the kernel's counters of the interface and the rows of the levels.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen
net_up
triggers=$POLICIES/triggers.lua
frames "$OUT/in" "$AMAC" "$BMAC" 32
frames "$OUT/out" "$BMAC" "$AMAC" 32

triggered() { grep -c '"why":"trigger"' "$1" || :; }

# run NAME TRIPS HOOKS MODE ARGUMENTS…: packets both ways, until triggers have tripped that often.
run() {
	name=$1 trips=$2 hooks=$3 mode=$4
	shift 4
	file=$OUT/$name
	start "$B" "$file" run "$triggers" --set iface=vb --json "$@"
	run=$PID
	start_event "$file" "$run" "$hooks"
	assert_eq "$mode" "$(json "$file" 'select(.event == "attach") | .mode' | sort -u)" "$name: the mode"
	rx=$(arrived) tx=$(departed) from_a=$(sent "$A" va) number=0
	while [ "$(triggered "$file")" -lt "$trips" ]; do
		[ $number -lt 20000000 ] || fail "$name: only $(triggered "$file") trips in $number frames"
		(flood "$B" vb "$OUT/out" 100000) &
		PIDS="$PIDS $!"
		other=$!
		flood "$A" va "$OUT/in" 100000
		finish "$other" 60
		number=$((number + 100000))
	done
	settle "$from_a" $number
	stop "$run"
	expected=$(($(arrived) - rx))
	[ "$hooks" = 1 ] || expected=$((expected + $(departed) - tx))
	say "$name: the kernel's counter of vb: $expected"
	judge "$file" --packets $expected --triggered "$trips" --transitions "$trips" --probe to,levels=alert+siege --probe from,levels=siege
	assert_clean "$B" vb
}

run tc 1000 2 tcx
run xdp 300 1 native --set hook=xdp
