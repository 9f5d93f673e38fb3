# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Signals at any moment: a second one ends the run at once with 130, one while it starts ends it with 0, and neither leaves anything.
# Programs of others on the same hooks go on counting.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need jq bpftool
net_up
count=$POLICIES/count.lua

# Another one's programs, on the same interface and direction, before ours come and after ours are gone.
ip netns exec "$B" "$PERILUNE" run "$count" --set iface=vb --set window=1s --json >"$OUT/other" 2>"$OUT/other.err" </dev/null &
other=$!
PIDS="$PIDS $other"
start_event "$OUT/other" "$other" 2
links_of "$B" vb | sort >"$OUT/links"

# theirs WHAT: only the other's links are there, the same as ever; nothing of ours runs.
theirs() {
	wait_for "[ \"\$(links_of '$B' vb | sort)\" = \"\$(cat '$OUT/links')\" ]" 10 "only the other's links after $1"
	assert_eq "$other" "$(ip netns pids "$B")" "the processes after $1"
	say "only the other's links are left after $1"
}

# Two different signals that wait together are two interrupts; the same signal twice might be one.
for how in count:tcx count:clsact levels:tcx; do
	policy=${how%:*} mode=${how#*:}
	set --
	[ "$policy" = levels ] || set -- --set "mode=$mode"
	start "$B" "$OUT/twice" run "$POLICIES/$policy.lua" --set iface=vb --json "$@"
	run=$PID
	start_event "$OUT/twice" "$run" 2
	kill -STOP "$run"
	kill -INT "$run"
	kill -TERM "$run"
	kill -CONT "$run"
	finish "$run"
	assert_eq 130 "$STATUS" 'the exit status after two signals'
	assert_eq '' "$(cat "$OUT/twice.err")" 'what it said'
	"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/twice" || fail 'its lines'
	theirs "two signals ($how)"
	assert_eq '' "$(run_in "$B" tc qdisc show dev vb | grep clsact || :)" "the qdisc after two signals ($how)"
done

# One signal, at every stage of the start: from before the loop to the first windows. As long as nobody handles it, it ends the
# process by itself (143); from then on the run ends well (0).
stage=0
while [ $stage -lt 30 ]; do
	start "$B" "$OUT/early" run "$POLICIES/levels.lua" --set iface=vb --json
	run=$PID
	# How far it has come is told by what it has opened: no clock is asked.
	wait_for "[ \$(ls /proc/$run/fd 2>/dev/null | wc -l) -ge $((stage + 3)) ] || [ \$(events '$OUT/early' window) -ge 1 ] || ! alive $run" 20 'the next stage'
	kill -TERM "$run"
	finish "$run"
	case $STATUS in
	0 | 143) ;;
	*) fail "stage $stage: exit status $STATUS" ;;
	esac
	if [ "$(events "$OUT/early" attach)" -gt 0 ]; then
		assert_eq "$(events "$OUT/early" attach)" "$(events "$OUT/early" detach)" "stage $stage: what was detached"
		assert_eq 1 "$(events "$OUT/early" summary)" "stage $stage: summaries"
		judge "$OUT/early" --windows 0 >"$OUT/judged"
	fi
	stage=$((stage + 3))
done
theirs 'a signal at every stage of the start'

# Killed by force, at a deep level.
start "$B" "$OUT/killed" run "$POLICIES/levels.lua" --set iface=vb --json
run=$PID
wait_for "[ \$(events '$OUT/killed' transition) -ge 3 ] || ! alive $run" 20 'changes of level'
kill -KILL "$run"
finish "$run"
theirs 'SIGKILL'

# The other one has counted everything that came meanwhile.
frames "$OUT/in" "$AMAC" "$BMAC"
before=$(sent "$A" va)
flood "$A" va "$OUT/in" 1000
settle "$before" 1000
stop "$other"
judge "$OUT/other" --packets 1000
assert_clean "$B" vb
