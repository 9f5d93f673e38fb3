# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What a run costs the host: under 40 MB of memory beyond the maps at its deepest level, and no work between windows.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need jq tcpreplay
case $PERILUNE_BUILD in
*asan*)
	say 'a build with sanitizers has its own costs: nothing is measured'
	exit 0
	;;
esac
net_up

# The flood example, up to siege.
start "$B" "$OUT/flood" run "$EXAMPLES/syn_flood.lua" --set iface=vb --set hook=tc.ingress --json
run=$PID
start_event "$OUT/flood" "$run"
run_in "$A" tcpreplay -q --pps 6000 -i va "$PCAPS/lucid_CIC-DDoS-2019-SynFlood.pcap" >"$OUT/tcpreplay" 2>&1
assert_match 'siege' "$(json "$OUT/flood" 'select(.event == "transition") | .to')" 'the levels'
peak=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$run/status")
stop "$run"
say "peak memory: $peak kB"
[ "$peak" -lt 40960 ] || fail "$peak kB at the peak are more than 40 MB"

# Between windows the process is not even woken: a few switches a window (timer, worker, its answer), whatever the time between.
switches() { sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' "/proc/$1/status"; }
start "$B" "$OUT/idle" run "$EXAMPLES/packet_counter.lua" --set iface=vb --set window=200ms --json
run=$PID
start_event "$OUT/idle" "$run" 2
before=$(switches "$run") first=$(events "$OUT/idle" window)
wait_for "[ \$(events '$OUT/idle' window) -ge $((first + 10)) ]" 30 'ten windows'
woken=$(($(switches "$run") - before)) windows=$(($(events "$OUT/idle" window) - first))
stop "$run"
say "woken $woken times in $windows windows"
[ "$woken" -le $((8 * (windows + 1))) ] || fail "woken $woken times in $windows windows"
assert_clean "$B" vb
