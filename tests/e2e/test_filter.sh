# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Filters on a real interface agree with tcpdump on what was sent, by each hook: also at TC, where the kernel keeps a VLAN tag
# beside the frame, and where headers are not in the linear part. And what is said about an expression that is none.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need tcpreplay tcpdump editcap jq
net_up
ip -n "$A" link set va mtu 2000
ip -n "$B" link set vb mtu 2000

{
	echo 'local iface, hook = option "iface" { type = "iface" }, option "hook" { default = "tc.ingress" }'
	echo 'return policy "filters" { attach = { iface = iface, hook = hook }, window = "1h", always = {'
	number=0
	while read -r expression; do
		printf '  counter "f%d" { filter = "%s" },\n' "$number" "$expression"
		number=$((number + 1))
	done
	echo '} }'
} >"$OUT/filters.lua" <<'X1'
tcp
port 80
vlan
vlan and tcp
vlan and tcp port 80
vlan and vlan and tcp
vlan 10
vlan 20 and vlan 30
ether[12:2] = 0x8100
ether[13:2] & 0xff != 0
ether[14:4] & 0xffff = 0x0800
ether[11:4] != 0
ether[16:2] = 0x0800
ether[1500] >= 0
less 100
greater 1000
len <= 64
ether multicast
mpls
tcp[tcpflags] & tcp-syn != 0
X1
expressions() { sed -n 's/.*filter = "\(.*\)" }.*/\1/p' "$OUT/filters.lua"; }

for hook in tc.ingress xdp; do
	for pcap in http-vlan-0 http-qinq-0 mixed-vlan-mpls http_get q-in-q; do
		say "--- $pcap at $hook"
		capture=$OUT/$pcap.pcap
		editcap -F pcap "$PCAPS/$pcap.pcap" "$capture"
		start "$B" "$OUT/run" run "$OUT/filters.lua" --set iface=vb --set "hook=$hook" --json
		start_event "$OUT/run" "$PID"
		run_in "$A" tcpreplay -q -t -i va "$capture" >"$OUT/tcpreplay" 2>&1 || fail "tcpreplay: $(cat "$OUT/tcpreplay")"
		stop "$PID"
		number=0
		expressions | while read -r expression; do
			expected=$(tcpdump -nr "$capture" --count "$expression" 2>/dev/null | sed -n 's/ packets*$//p')
			actual=$(json "$OUT/run" "select(.event == \"records\" and .probe == \"f$number\") | .rows[] | select(.direction == \"ingress\") | .skbs")
			assert_eq "$expected" "$actual" "$expression"
			number=$((number + 1))
		done
	done
done
assert_clean "$B" vb

say '--- what is none'
cat >"$OUT/wrong.lua" <<'X1'
return policy "wrong" {
  attach = { iface = "lo", hook = "tc" },
  always = {
    counter "totals" {},
    flows "web" { filter = "tpc port 80" },
  },
}
X1
assert_exit 2 "$PERILUNE" check "$OUT/wrong.lua"
assert_match "wrong.lua:5: flows \"web\": filter \"tpc port 80\": can't parse filter expression: syntax error.*pcap-filter\(7\)" \
	"$(cat "$OUT/stderr")" 'a syntax error'
assert_exit 2 run_in "$B" "$PERILUNE" run "$OUT/wrong.lua"
assert_match 'wrong.lua:5: flows "web": filter "tpc port 80"' "$(cat "$OUT/stderr")" 'a syntax error, when run'
sed -i 's/tpc port 80/ip6 protochain 6/' "$OUT/wrong.lua"
assert_exit 2 "$PERILUNE" check "$OUT/wrong.lua"
assert_match 'needs a loop .*write it without protochain' "$(cat "$OUT/stderr")" 'a loop'
sed -i 's/"ip6 protochain 6"/5/' "$OUT/wrong.lua"
assert_exit 2 "$PERILUNE" check "$OUT/wrong.lua"
assert_match 'wrong.lua:5: "web": flows: filter: expected a text, got a number' "$(cat "$OUT/stderr")" 'no text'
