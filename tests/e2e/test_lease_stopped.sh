# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# A process that is stopped at a deep level: the kernel is back at its cheap path when the lease has ended, as the deep probe's maps
# show, which get nothing any more; when the process goes on, the level is deep again, and no packet was lost or counted twice.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq bpftool
net_up
LEASE=10 # seconds
frames "$OUT/in" "$AMAC" "$BMAC"
start "$B" "$OUT/lease" run "$POLICIES/lease.lua" --json --set iface=vb --set lease=${LEASE}s
run=$PID
start_event "$OUT/lease" "$run"
rx=$(arrived) from_a=$(sent "$A" va) number=0

send() {
	flood "$A" va "$OUT/in" "$1"
	number=$((number + $1))
	settle "$from_a" "$number"
}

# Packets that both halves of the deep probe's rows hold, by the kernel's word. The process is stopped: nobody reads or clears them.
deep_packets() {
	sum=0
	# shellcheck disable=SC2013 # numbers, one a line
	for map in $(sed -n 's/^map_id:[[:space:]]*//p' /proc/"$run"/fdinfo/* | sort -un); do
		bpftool -j map show id "$map" | jq -e '.type == "hash" and (.name | startswith("deep_rows"))' >/dev/null || continue
		one=$(bpftool -j map dump id "$map" | jq '[.[].formatted.value.packets] | add // 0')
		sum=$((sum + one))
	done
	say "$sum"
}

send 100
wait_for "[ \$(json '$OUT/lease' 'select(.event == \"transition\") | .to' | tail -n 1) = siege ]" 30 'siege'
# Some windows at siege, so that its probe has seen some.
send 100
kill -STOP "$run"
stopped=$(now_ms)
before=$(deep_packets)
send 1000
in_time=$(($(now_ms) - stopped < LEASE * 1000 - 500)) # some windows' worth before the end
after=$(deep_packets)
[ "$in_time" = 0 ] || assert_eq $((before + 1000)) "$after" 'packets that the deep probe has seen under its lease'

# The lease began with the last renewal, which was before the stop.
wait_for "[ \$(now_ms) -gt $((stopped + LEASE * 1000 + 20)) ]" 30 'the end of the lease'
before=$(deep_packets)
send 5000
assert_eq "$before" "$(deep_packets)" 'packets that the deep probe has seen after its lease'

kill -CONT "$run"
wait_for "[ \$(events '$OUT/lease' error) -ge 1 ]" 30 'word of the lease'
send 700
seen() { json "$OUT/lease" 'select(.event == "records" and .probe == "deep" and .level == "siege") | [.rows[].packets] | add // 0' | awk '{ s += $1 } END { print s + 0 }'; }
windows=$(events "$OUT/lease" window)
wait_for "[ \$(events '$OUT/lease' window) -gt $((windows + 2)) ]" 30 'windows after it'
deep=$(seen)
send 300
wait_for "[ \$(seen) -ge $((deep + 300)) ]" 30 'the deep probe again'
stop "$run"
judge "$OUT/lease" --packets $(($(arrived) - rx))
assert_eq 1 "$(events "$OUT/lease" error)" 'errors'
assert_match 'the lease of siege ran out, and calm ran for its last ' "$(json "$OUT/lease" 'select(.event == "error") | .message')" 'what is said'
assert_clean "$B" vb
