# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
#
# What keeps triggers exact. In a build for tests, triggers may flip into a half that is still to be drained, in programs that take their
# time between reading the epoch and counting: rows and totals of a window no longer agree. As built for everybody, on the same
# traffic, they agree in every window, and nothing is lost.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen
net_up
PERILUNE=$PERILUNE_BUILD/tests/perilune_faults
[ -x "$PERILUNE" ] || fail "$PERILUNE is missing (cmake -DPERILUNE_FAULTS=ON)"
export PERILUNE_FAULT_DELAY=2000
triggers=$POLICIES/triggers.lua
frames "$OUT/in" "$AMAC" "$BMAC" 32

# loaded FILE: a run under load.
loaded() {
	start "$B" "$1" run "$triggers" --set iface=vb --set hook=xdp --json
	run=$PID
	start_event "$1" "$run"
	from_a=$(sent "$A" va) rx=$(arrived)
	flood "$A" va "$OUT/in" 150000
	settle "$from_a" 150000
	stop "$run"
	expected=$(($(arrived) - rx))
}

judged() {
	"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/judge.py" "$1" --packets "$expected" --triggered 20 --probe to,levels=alert+siege \
		--probe from,levels=siege
}

export PERILUNE_FAULT_READY=1
loaded "$OUT/without"
unset PERILUNE_FAULT_READY
if judged "$OUT/without" >"$OUT/judged"; then
	fail "triggers flip into halves that are being drained, and nobody notices"
fi
say "without waiting for a clean half: $(grep -c '^WRONG' "$OUT/judged") mistakes, as $(grep -m 1 '^WRONG' "$OUT/judged")"
loaded "$OUT/with"
judged "$OUT/with" || fail 'the same run does not add up with it'
assert_clean "$B" vb
