# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Probes limited by a set: who is in it from the start, addresses and subnets of both families, and who enters and leaves while
# it runs. What each probe counted is what was sent by those in its set.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need ping jq
net_up
for host in 3 4 5 130; do
	ip -n "$A" addr add "10.77.0.$host/24" dev va
	ip -n "$A" addr add "fd77::$host/64" dev va nodad
	neighbour "$B" vb "$AMAC" "10.77.0.$host" "fd77::$host"
done

cat >"$OUT/scope.lua" <<'X1'
local hook = option "hook" { default = "tc" }
local busy = flows "busy" { key = "src" }

return policy "scope" {
  attach = { iface = option "iface" { type = "iface" }, hook = hook },
  window = "100ms",
  always = {
    busy,
    counter "hosts"  { scope = "hosts" },
    counter "nets"   { scope = "nets" },
    counter "either" { scope = "either", filter = "icmp" },
    counter "found"  { scope = "found" },
  },
  sets = {
    set "hosts"  { of = "src",  max = 3,  members = { "10.77.0.3", "fd77::4" } },
    set "nets"   { of = "src",  max = 10, members = { "10.77.0.128/25", "10.77.0.3", "fd77::4/127" } },
    set "either" { of = "host", max = 10, members = { "10.77.0.5", "fd77::5" } },
    set "found"  { of = "src",  max = 10 },
  },
  rules = {
    rule "busy" { per = "busy.src", when = rate("busy.packets"):above "50/s", clear = rate("busy.packets"):below "5/s",
                  act = { add "found" } },
  },
}
X1

# send FROM COUNT [INTERVAL]
send() {
	to=$B4
	case $1 in *:*) to=$B6 ;; esac
	run_in "$A" ping -q -c "$2" -i "${3:-0.002}" -I "$1" "$to" >"$OUT/ping" || fail "ping: $(cat "$OUT/ping")"
}
# seen PROBE DIRECTION: what it counted so far.
seen() {
	json "$OUT/run" "select(.event == \"records\" and .probe == \"$1\") | .rows[] | select(.direction == \"$2\") | .packets" |
		awk '{ n += $1 } END { print n + 0 }'
}

for hook in tc xdp; do
	say "--- $hook"
	start "$B" "$OUT/run" run "$OUT/scope.lua" --set iface=vb --set "hook=$hook" --json
	start_event "$OUT/run" "$PID" "$([ $hook = tc ] && echo 2 || echo 1)"
	send 10.77.0.3 7
	send 10.77.0.4 11
	send 10.77.0.5 13
	send 10.77.0.130 17
	send fd77::3 19
	send fd77::4 23
	send fd77::5 29
	wait_for "[ \$(events '$OUT/run' window) -ge 1 ]" 10
	stop "$PID"
	assert_eq $((7 + 23)) "$(seen hosts ingress)" 'hosts'
	assert_eq $((7 + 17 + 23 + 29)) "$(seen nets ingress)" 'addresses and subnets'
	assert_eq 13 "$(seen either ingress)" 'either end, with a filter'
	if [ $hook = tc ]; then
		assert_eq 13 "$(seen either egress)" 'either end, the answers'
		assert_eq 0 "$(seen hosts egress)" 'the answers are not from the hosts'
	fi
done

say '--- entering and leaving'
start "$B" "$OUT/run" run "$OUT/scope.lua" --set iface=vb --set hook=tc.ingress --json
start_event "$OUT/run" "$PID"
entered() { json "$OUT/run" "select(.event == \"action\" and .set == \"found\" and .undo == $1) | .member" | sort | tr '\n' ' '; echo; }
run_in "$A" ping -q -i 0.005 -c 2000 -I 10.77.0.4 "$B4" >/dev/null &
PIDS="$PIDS $!"
wait_for "entered false | grep -qx '10.77.0.4 '" 10 'a busy source in the set'
wait_for "[ \$(seen found ingress) -gt 20 ]" 10 'its packets'
send 10.77.0.5 3
for pid in $(ip netns pids "$A"); do # nobody else's
	[ "$(cat "/proc/$pid/comm")" != ping ] || kill -INT "$pid"
done
wait_for "entered true | grep -qx '10.77.0.4 '" 10 'that it has left'
left=$(json "$OUT/run" 'select(.event == "action" and .undo == true) | .seq')
wait_for "[ \$(events '$OUT/run' window) -gt $left ]" 10 'the next window'
before=$(seen found ingress)
send 10.77.0.4 3 0.2
stop "$PID"
assert_eq "$before" "$(seen found ingress)" 'packets of one that has left'
assert_clean "$B" vb

say '--- mistakes'
mistake() { # SUBSTITUTION PATTERN
	sed "$1" "$OUT/scope.lua" >"$OUT/wrong.lua"
	assert_exit "${3:-2}" "$PERILUNE" "${4:-check}" "$OUT/wrong.lua" --set iface=lo
	assert_match "$2" "$(cat "$OUT/stderr")" "$1"
}
mistake 's/scope = "found"/scope = "fuond"/' 'wrong.lua:12: counter "found": scope "fuond": no such set \(did you mean "found"\?\)'
mistake 's/"hosts"  { of = "src"/"hosts" { of = "sport"/' 'wrong.lua:15: set "hosts": 10.77.0.3 is no member \(like members = \{ 53'
mistake 's/"fd77::4" }/"everyone" }/' 'wrong.lua:15: set "hosts": everyone is no member \(like members'
mistake 's/max = 3,/max = 1,/' 'wrong.lua:15: set "hosts": 2 members and max = 1'
mistake 's/"10.77.0.3", "fd77::4"/"10.77.0.333"/' 'wrong.lua:15: set "hosts": 10.77.0.333 is no member' 2 run
assert_clean "$B" vb
