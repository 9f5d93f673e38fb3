# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: cost 35
# ctest: once
# ctest: timeout 900
#
# Every template at TC, on real interfaces, counts what it counts over the same frames in a replay, which runs XDP programs: tags that
# the kernel has taken out of the frame, headers that are not in the linear part, and all.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need tcpreplay
net_up
for side in "$A va" "$B vb"; do
	# shellcheck disable=SC2086 # two words
	set -- $side
	ip -n "$1" link set "$2" mtu 65535
	offload "$1" "$2" off
done
python() { "${PYTHON:-/usr/bin/python3}" "$PERILUNE_SOURCE/tests/e2e/templates.py" "$@"; }
# The frames, and a policy for each few templates; prints how many frames there are.
frames=$(python make "$OUT")
for policy in "$OUT"/group*.lua; do
	name=$(basename "$policy" .lua)
	timeout 120 "$PERILUNE" replay "$policy" "$OUT/all.pcap" --set hook=xdp --json >"$OUT/$name.replay"
	start "$B" "$OUT/$name.live" run "$policy" --set hook=tc.ingress --json
	start_event "$OUT/$name.live" "$PID"
	run_in "$A" tcpreplay -q --pps 20000 -i va "$OUT/all.pcap" >"$OUT/tcpreplay" 2>&1 || fail "tcpreplay: $(cat "$OUT/tcpreplay")"
	stop "$PID"
	python compare "$OUT/$name.replay" "$OUT/$name.live" "$frames" || fail "$name"
done
assert_clean "$B" vb
