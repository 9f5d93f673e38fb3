# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Schedules of a run cut windows when their time has come, as the wall clock says, and nothing is lost by it.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq
net_up
frames "$OUT/in" "$AMAC" "$BMAC"
rx=$(arrived) from_a=$(sent "$A" va)
start "$B" "$OUT/beat" run "$POLICIES/beat.lua" --json --set iface=vb
start_event "$OUT/beat" "$PID" 2
rx=$(arrived) from_a=$(sent "$A" va)
number=0
while [ "$(events "$OUT/beat" transition)" -lt 6 ]; do
	flood "$A" va "$OUT/in" 20000
	number=$((number + 20000))
done
settle "$from_a" "$number"
stop "$PID"
judge "$OUT/beat" --packets $(($(arrived) - rx)) --windows 10 --transitions 5 --probe to,levels=closer
assert_clean "$B" vb
# Not before its time, however late the machine is: the level changes at whole seconds of the wall clock, to closer at even ones.
# shellcheck disable=SC2016 # the variable is jq's
early=$(json "$OUT/beat" 'select(.event == "transition") | (.time | sub("\\..*"; "Z") | fromdate) as $at
	| select(($at % 2 == 0) != (.to == "closer") and (.time | test("\\.[0-4]"))) | "\(.time) \(.to)"')
assert_eq '' "$early" 'transitions before their time'
assert_eq 'schedule beat' "$(json "$OUT/beat" 'select(.event == "transition" and .to == "closer") | .held_by[]' | sort -u)" 'who holds'
assert_match schedule "$(json "$OUT/beat" 'select(.event == "window") | .cut' | sort -u)" 'what windows are cut by'
