# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# However a run ends, nothing of it is left: no link, program, filter, qdisc or temporary file; and what belongs to others stays.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need jq clang-19 tc
net_up
counter=$EXAMPLES/packet_counter.lua
policy=$counter
TMPDIR=$OUT/tmp
mkdir "$TMPDIR"
export TMPDIR PERILUNE_CACHE="$OUT/cache"

# begin NAME ARGUMENTS…: a run that is attached.
begin() {
	name=$1
	shift
	start "$B" "$OUT/$name" run "$policy" --set iface=vb --set window=50ms --json "$@"
	run=$PID
	start_event "$OUT/$name" "$run"
}

# gone WHAT
gone() {
	assert_clean "$B" vb
	assert_eq '' "$(ls -A "$TMPDIR")" "temporary files after $1"
	assert_eq '' "$(find "$PERILUNE_CACHE" -type f 2>/dev/null | grep -vE '/[0-9a-f]{64}$' || :)" "foreign files in the cache after $1"
	say "nothing is left after $1"
}

# In the middle of compiling, with nothing cached.
start "$B" "$OUT/compiling" run "$counter" --set iface=vb --json
wait_for "pgrep -P $PID clang >/dev/null || ! alive $PID" 20 'clang to run'
kill -INT "$PID" 2>/dev/null || :
finish "$PID"
assert_eq 0 "$STATUS" 'the exit status after an early SIGINT'
gone 'SIGINT while compiling'

for signal in INT TERM HUP; do
	begin "signal$signal" --set hook=tc
	stop "$run" "$signal"
	assert_eq 1 "$(events "$OUT/signal$signal" summary)" "summaries after SIG$signal"
	assert_eq 2 "$(events "$OUT/signal$signal" detach)" "detach events after SIG$signal"
	gone "SIG$signal"
done

begin timed --for 200ms
finish "$run"
assert_eq 0 "$STATUS" 'the exit status after --for'
gone 'the end of --for'

begin killed --set hook=xdp
kill -KILL "$run"
finish "$run"
wait_for "[ -z \"\$(links_of '$B' vb)\" ]" 10 'the kernel to drop the link'
gone 'SIGKILL'

# A closed output ends the run, and that is no failure.
{
	status=0
	run_in "$B" "$PERILUNE" run "$counter" --set iface=vb --set window=50ms --json || status=$?
	echo "$status" >"$OUT/piped"
} | head -n 1 >/dev/null
wait_for "[ -s '$OUT/piped' ]" 20 'the end of a run without a reader'
assert_eq 0 "$(cat "$OUT/piped")" 'the exit status after a closed output'
gone 'a closed output'

# The interface goes away while it is watched.
run_in "$B" ip link add gone0 type veth peer name gone1
run_in "$B" ip link set gone0 up
start "$B" "$OUT/vanishing" run "$counter" --set iface=gone0 --set window=50ms --json
run=$PID
start_event "$OUT/vanishing" "$run" 2
run_in "$B" ip link del gone0
seen=$(events "$OUT/vanishing" window)
wait_for "[ \$(events '$OUT/vanishing' window) -gt $seen ] || ! alive $run" 20 'another window'
stop "$run"
gone 'the end of the interface'

# An error in perilune's own Lua, in the middle of a window.
mkdir -p "$OUT/broken/lua/perilune/engine"
sed 's/^function Decide:step(sample)$/&\n  if sample.seq == 3 then error("broken on purpose") end/' \
	"$PERILUNE_SOURCE/lua/perilune/engine/decide.lua" >"$OUT/broken/lua/perilune/engine/decide.lua"
export PERILUNE_PATH="$OUT/broken"
start "$B" "$OUT/crashed" run "$counter" --set iface=vb --set window=50ms --json
unset PERILUNE_PATH
finish "$PID"
assert_eq 1 "$STATUS" "the exit status after an error in perilune's own Lua"
assert_match 'broken on purpose' "$(cat "$OUT/crashed.err")" 'the error'
gone "an error in perilune's own Lua"

# clsact: not a link, so a killed process leaves its filter; the next run sweeps it. Others' filters stay where they are.
cat >"$OUT/foreign.c" <<'END'
__attribute__((section("classifier"), used)) int foreign(void *skb) { return -1; }
char _license[] __attribute__((section("license"), used)) = "GPL";
END
clang-19 -O2 -target bpf -c "$OUT/foreign.c" -o "$OUT/foreign.o"
policy=$PERILUNE_SOURCE/tests/e2e/policies/count.lua
begin clsact --set hook=tc.ingress --set mode=clsact
run_in "$B" tc filter add dev vb ingress pref 30000 bpf da obj "$OUT/foreign.o" sec classifier
kill -KILL "$run"
finish "$run"
filters() { run_in "$B" tc filter show dev vb ingress | grep -c 'direct-action' || :; }
assert_eq 2 "$(filters)" 'filters after a kill'
begin swept --set hook=tc.ingress --set mode=clsact
assert_eq 2 "$(filters)" 'filters with the next run'
stop "$run"
assert_eq 1 "$(filters)" 'filters of others'
run_in "$B" tc qdisc del dev vb clsact
gone 'a killed run with clsact'

# XDP of somebody else is neither replaced nor removed.
sed 's/classifier/xdp/; s/-1/2/' "$OUT/foreign.c" >"$OUT/taken.c"
clang-19 -O2 -target bpf -c "$OUT/taken.c" -o "$OUT/taken.o"
run_in "$B" ip link set vb xdp obj "$OUT/taken.o" sec xdp
assert_exit 3 run_in "$B" "$PERILUNE" run "$counter" --set iface=vb --set hook=xdp
assert_match 'already has the XDP program' "$(cat "$OUT/stderr")" 'who has it'
assert_match 'prog/xdp' "$(ip -n "$B" -d link show dev vb)" "the other's program"
run_in "$B" ip link set vb xdp off
gone 'XDP that was taken'
