# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
# ctest: timeout 900
#
# Probes limited by sets of flows, ports and protocols, both hooks of TC: who is in them from the start, and flows that a rule finds,
# one way and both ways. What each probe counted is what was sent in its flows.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need python3 jq
net_up

cat >"$OUT/flows.lua" <<'X1'
local one = flows "one" { key = "5tuple" }
local two = flows "two" { key = "5tuple", features = { "biflow" } }

return policy "flows" {
  attach = { iface = option "iface" { type = "iface" }, hook = option "hook" { default = "tc" } },
  window = "100ms",
  always = {
    one, two,
    counter "flow"   { scope = "flow" },
    counter "biflow" { scope = "biflow" },
    counter "port"   { scope = "port" },
    counter "proto"  { scope = "proto", filter = "ip6" },
    counter "found"  { scope = "found" },
    counter "pairs"  { scope = "pairs" },
  },
  sets = {
    set "flow"   { of = "flow",   max = 10, members = { "10.77.0.1:4001 > 10.77.0.2:53 udp", "[fd77::1]:4001 > [fd77::2]:53 udp" } },
    set "biflow" { of = "biflow", max = 10, members = { "10.77.0.2:53 <> 10.77.0.1:4001 udp", "[FD77:0::1]:4001 <> [fd77::2]:53 UDP" } },
    set "port"   { of = "port",   max = 10, members = { 4002 } },
    set "proto"  { of = "proto",  max = 10, members = { "udp" } },
    set "found"  { of = "flow",   max = 10 },
    set "pairs"  { of = "biflow", max = 10 },
  },
  rules = {
    rule "found" { per = "one.flow", when = rate("one.packets"):above "50/s", clear = rate("one.packets"):below "5/s",
                   act = { add "found" } },
    rule "pairs" { per = "two.flow", when = rate("two.packets"):above "50/s", clear = rate("two.packets"):below "5/s",
                   act = { add "pairs" } },
  },
}
X1
cat >"$OUT/send.py" <<'X1'
import socket, sys, time
src, sport, dst, dport, count, pause = sys.argv[1:7]
s = socket.socket(socket.AF_INET6 if ":" in src else socket.AF_INET, socket.SOCK_DGRAM)
s.bind((src, int(sport)))
for _ in range(int(count)):
    s.sendto(b"datagram", (dst, int(dport)))
    time.sleep(float(pause))
X1

# send NAMESPACE FROM PORT TO PORT COUNT [PAUSE]
send() { run_in "$1" python3 "$OUT/send.py" "$2" "$3" "$4" "$5" "$6" "${7:-0.001}" || fail "cannot send from $2"; }
# seen PROBE DIRECTION: what it counted so far.
seen() {
	json "$OUT/run" "select(.event == \"records\" and .probe == \"$1\") | .rows[] | select(.direction == \"$2\") | .packets" |
		awk '{ n += $1 } END { print n + 0 }'
}

say '--- from the start'
start "$B" "$OUT/run" run "$OUT/flows.lua" --set iface=vb --json
start_event "$OUT/run" "$PID" 2
send "$A" "$A4" 4001 "$B4" 53 7
send "$B" "$B4" 53 "$A4" 4001 11
send "$A" "$A4" 4002 "$B4" 53 13
send "$B" "$B4" 53 "$A4" 4002 17
send "$A" "$A6" 4001 "$B6" 53 19
send "$B" "$B6" 53 "$A6" 4001 23
send "$A" "$A6" 4003 "$B6" 53 29
wait_for "[ \$(seen biflow egress) -ge 34 ]" 10 'the last answers'
stop "$PID"
assert_eq $((7 + 19)) "$(seen flow ingress)" 'flows'
assert_eq 0 "$(seen flow egress)" 'flows, the other way'
assert_eq $((7 + 19)) "$(seen biflow ingress)" 'both ways, in'
assert_eq $((11 + 23)) "$(seen biflow egress)" 'both ways, out'
assert_eq 13 "$(seen port ingress)" 'a port, in'
assert_eq 17 "$(seen port egress)" 'a port, out'
assert_eq $((19 + 29)) "$(seen proto ingress)" 'a protocol, with a filter'

say '--- entering and leaving'
start "$B" "$OUT/run" run "$OUT/flows.lua" --set iface=vb --json
start_event "$OUT/run" "$PID" 2
members() { json "$OUT/run" "select(.event == \"action\" and .set == \"$1\" and .undo == $2) | .member"; }
FLOW="$A4:5001 > $B4:53 udp" PAIR="$A4:5001 <> $B4:53 udp"
ip netns exec "$A" python3 "$OUT/send.py" "$A4" 5001 "$B4" 53 100000 0.005 &
SENDER=$!
PIDS="$PIDS $SENDER"
wait_for "members found false | grep -qx '$FLOW' && members pairs false | grep -qx '$PAIR'" 20 'a busy flow in the sets'
wait_for "[ \$(seen found ingress) -gt 20 ] && [ \$(seen pairs ingress) -gt 20 ]" 20 'its packets'
# Few answers: they are in the pair, whoever sends more, and no flow of their own.
send "$B" "$B4" 53 "$A4" 5001 3 0.1
wait_for "[ \$(seen pairs egress) -eq 3 ]" 20 'the answers'
assert_eq 0 "$(seen found egress)" 'the answers are another flow'
kill "$SENDER"
wait_for "members found true | grep -qx '$FLOW' && members pairs true | grep -qx '$PAIR'" 20 'that it has left'
left=$(json "$OUT/run" 'select(.event == "action" and .undo == true) | .seq' | tail -n 1)
wait_for "[ \$(events '$OUT/run' window) -gt $left ]" 20 'the next window'
before="$(seen found ingress) $(seen pairs ingress)"
send "$A" "$A4" 5001 "$B4" 53 3 0.3
stop "$PID"
assert_eq "$before" "$(seen found ingress) $(seen pairs ingress)" 'packets of one that has left'
assert_clean "$B" vb

say '--- mistakes'
mistake() { # SUBSTITUTION PATTERN [STATUS [COMMAND]]
	sed "$1" "$OUT/flows.lua" >"$OUT/wrong.lua"
	assert_exit "${3:-2}" "$PERILUNE" "${4:-check}" "$OUT/wrong.lua" --set iface=lo
	assert_match "$2" "$(cat "$OUT/stderr")" "$1"
}
mistake 's/10.77.0.1:4001 > /10.77.0.1:4001 <> /' 'wrong.lua:17: set "flow": 10.77.0.1:4001 <> 10.77.0.2:53 udp is no member \(like members = \{ "10.0.0.1:40000 > 10'
mistake 's/ <> 10.77/ > 10.77/' 'wrong.lua:18: set "biflow": .* is no member'
mistake 's/:4001 > 10/:400100 > 10/' 'is no member'
mistake 's/{ 4002 }/{ 65536 }/' 'wrong.lua:19: set "port": 65536 is no member \(like members = \{ 53, 443 \}\)'
mistake 's/{ "udp" }/{ "upd" }/' 'upd is no member' 2 run
mistake 's/"found"  { of = "flow"/"found"  { of = "biflow"/' 'rule "found": add "found": the set is of biflow, the rule is per flow \(use another set\)'
mistake 's/"pairs"  { of = "biflow"/"pairs"  { of = "flow"/' 'the set is of flow, the rule is per biflow: the probe has rows for both ways'
mistake 's/"one" { key = "5tuple"/"one" { key = "pair"/' 'per: flows "one" has no flows in its key \(a key with src, dst, sport, dport, proto, like 5tuple\)'
assert_clean "$B" vb
