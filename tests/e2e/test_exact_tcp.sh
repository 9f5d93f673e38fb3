# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Real TCP through segmentation offload: the hooks see packets of up to 64 kB, and count the segments that they are. Held against a
# capture of the same packets. What TCP itself has counted is shown beside it: it leaves out some of what it sends again.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need iperf3 tcpdump trafgen jq
net_up
frames "$OUT/in" "$AMAC" "$BMAC"
frames "$OUT/out" "$BMAC" "$AMAC"

# Segments that TCP in a namespace has sent, in IPv4 and IPv6: OutSegs, which leaves out what is sent again, and RetransSegs.
out_segments() { run_in "$1" cat /proc/net/snmp | awk '/^Tcp:/ { value = $12 + $13 } END { print value }'; }

# transfer NAME ADDRESS OFFLOAD BYTES WAY JUDGE_ARGUMENTS…
transfer() {
	name=$1 address=$2 offloads=$3 bytes=$4 way=$5
	shift 5
	offload "$A" va "$offloads"
	offload "$B" vb "$offloads"
	ip netns exec "$B" iperf3 -s --forceflush >"$OUT/server" 2>&1 &
	server=$!
	PIDS="$PIDS $server"
	wait_for "grep -q listening '$OUT/server'" 10 'iperf3'
	# It is flushed by packets (-U), and ends without a rest: what it has lost, it says.
	ip netns exec "$B" tcpdump -U -n -s 128 -B 65536 -i vb -w "$OUT/$name.pcap" >"$OUT/tcpdump" 2>&1 &
	capture=$!
	PIDS="$PIDS $capture"
	wait_for "grep -q 'listening on' '$OUT/tcpdump'" 10 'tcpdump'
	start "$B" "$OUT/$name" run "$POLICIES/rows.lua" --set iface=vb --json
	run=$PID
	start_event "$OUT/$name" "$run" 2
	from_a=$(out_segments "$A") from_b=$(out_segments "$B") dropped=$(link_counter "$A" va tx_dropped)
	run_in "$A" iperf3 -c "$address" -n "$bytes" -b 1G "$way" >"$OUT/client" 2>&1 || fail "iperf3: $(cat "$OUT/client")"
	kill "$server"
	finish "$server"
	wait_for "[ -z \"\$(ss -Hnt -N '$A'; ss -Hnt -N '$B')\" ]" 20 'the end of all connections'
	wait_for 'idle' 10 'empty backlogs'
	from_a=$(($(out_segments "$A") - from_a)) from_b=$(($(out_segments "$B") - from_b))
	dropped=$(($(link_counter "$A" va tx_dropped) - dropped))
	# The capture is whole when a last packet of each direction is in its file.
	flood "$A" va "$OUT/in" 1
	flood "$B" vb "$OUT/out" 1
	wait_for "[ \$(grep -ao 'x\{60\}' '$OUT/$name.pcap' | wc -l) = 2 ]" 20 'the last packets in the capture'
	stop "$run"
	stop "$capture"
	assert_match '^0 packets dropped by kernel' "$(cat "$OUT/tcpdump")" "$name: tcpdump"
	judge "$OUT/$name" --probe all "$@"
	"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/segments.py" "$OUT/$name.pcap" "$BMAC" >"$OUT/expected"
	# Without offloads the capture shows the frames themselves, which are made behind the hook for what goes out.
	same=.
	[ "$offloads" = on ] || same='del(.egress.skbs)'
	jq -cS "$same" "$OUT/expected" >"$OUT/expected.sorted"
	json "$OUT/$name" 'select(.event == "summary") | .directions | @json' | jq -cS "$same" >"$OUT/found.sorted"
	say "$name: capture $(cat "$OUT/expected.sorted"), TCP sent in/out $from_a/$from_b (dropped on the way in: $dropped)"
	assert_eq "$(cat "$OUT/expected.sorted")" "$(cat "$OUT/found.sorted")" "$name: against the capture"
}

transfer ipv4 "$B4" on 100M --bidir --merged
transfer ipv6 "$B6" on 50M -R --merged
transfer plain "$B4" off 20M --bidir
assert_clean "$B" vb
