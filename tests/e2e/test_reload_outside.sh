# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
#
# What of a policy is beyond its programs, when it is loaded anew: receivers that mean the same are not told again, others are told of the
# end; a capture goes on in another file; interfaces and hooks that stay are not interrupted, others come and
# go; an exported set stays the map that others have opened.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"

# A BPF file system of the test's own, which goes with its mount namespace.
if [ "${PERILUNE_TEST_MOUNTS:-}" != own ]; then
	PERILUNE_TEST_MOUNTS=own exec unshare --mount --propagation private sh "$0"
fi
need trafgen jq capinfos bpftool mount
mount -t bpf -o mode=0700 bpf /sys/fs/bpf
SETS=/sys/fs/bpf/perilune/outside/sets
net_up
frames "$OUT/in" "$AMAC" "$BMAC" 16
ip -n "$A" link add vc type veth peer name vd netns "$B"
ip -n "$A" link set vc arp off up
run_in "$B" sysctl -qw net.ipv6.conf.vd.disable_ipv6=1
run_in "$A" sysctl -qw net.ipv6.conf.vc.disable_ipv6=1
ip -n "$B" link set vd arp off up
mkdir "$OUT/files"

of() { json "$OUT/run" "select(.event == \"$1\") | $2"; }

# Sends until the capture that goes on since the last reload has packets: there is one more than there were reloads.
caught() {
	while :; do
		set -- "$OUT"/files/*.pcapng
		if [ $# -gt "$(events "$OUT/run" reload)" ]; then
			shift $(($# - 1))
			count=$(capinfos -c -M -T -r "$1" 2>/dev/null | cut -f2)
			[ "${count:-0}" -lt 100 ] || return 0
		fi
		alive "$run" || fail "it has ended: $(cat "$OUT/run.err")"
		flood "$A" va "$OUT/in" 500
		number=$((number + 500))
	done
}

# change SED: the policy changes, and is loaded anew under traffic.
reloads=0
change() {
	[ "$reloads" = 0 ] || caught
	edits="${edits:-s|default = \"\.\"|default = \"$OUT/files\"|};$1"
	sed "$edits" "$POLICIES/reload_outside.lua" >"$OUT/policy.new"
	mv "$OUT/policy.new" "$OUT/policy.lua"
	reloads=$((reloads + 1))
	[ "$reloads" = 1 ] || until [ "$(events "$OUT/run" reload)" -ge $((reloads - 1)) ]; do
		alive "$run" || fail "it has ended: $(cat "$OUT/run.err")"
		assert_eq '' "$(of error .message)" 'errors'
		flood "$A" va "$OUT/in" 500
		number=$((number + 500))
	done
}

# where EVENT: interfaces and hooks of such events, in order.
where() { of "$1" '[.iface, .hook] | join(" ")' | tr '\n' ',' | sed 's/,$//'; }

told() { grep -s . "$OUT/files/$1" | jq -r '.alerts[].status' | tr '\n' ' ' || :; }

# pinned NAME: the id of the map, and how many are in it.
pinned() { say "$(bpftool -j map show pinned "$SETS/$1" | jq .id) $(bpftool -j map dump pinned "$SETS/$1" | jq length)"; }

number=0
change 's/x/x/'
: >"$OUT/run"
"$PERILUNE" run "$OUT/policy.lua" --watch --json --set netns="$B" >"$OUT/run" 2>"$OUT/run.err" </dev/null &
run=$!
PIDS="$PIDS $run"
start_event "$OUT/run" "$run"
rx=$(arrived) from_a=$(sent "$A" va)
flood "$A" va "$OUT/in" 500
number=$((number + 500))
wait_for "[ \"\$(told told)\" = 'firing ' ]" 30 'word that it fires'

wait_for "[ \"\$(pinned seen | cut -d' ' -f2)\" = 1 ]" 30 'the talker in the set'
map=$(pinned seen)
change 's/"100ms"/"110ms"/'
assert_eq "$map" "$(pinned seen)" 'the map of the exported set, and its members'
assert_eq 'level calm, set seen, rule talker' "$(of reload '.kept | join(", ")')" 'what goes on'
wait_for "[ \$(ls '$OUT/files' | grep -c pcapng) = 2 ]" 30 'another file'
assert_eq reload "$(of capture .why)" 'why the first one ended'
flood "$A" va "$OUT/in" 500
number=$((number + 500))

# Another receiver: the one before hears of the end, the other that it fires.
change 's/default = "told"/default = "other"/'
assert_eq 'rule talker' "$(of reload '.lost | join(", ")' | tail -1)" 'what does not go on'
wait_for "[ \"\$(told told)\" = 'firing resolved ' ]" 30 'word of the end'
until [ "$(told other)" = 'firing ' ]; do
	flood "$A" va "$OUT/in" 500
	number=$((number + 500))
done
flood "$A" va "$OUT/in" 500
number=$((number + 500))

# An interface more, another hook, an interface less.
link=$(links_of "$B" vb)
change 's/default = "vb"/default = "vb,vd"/'
assert_eq 'vb tc.ingress,vd tc.ingress' "$(where attach)" 'what is attached to'
flood "$A" vc "$OUT/in" 700
change 's/default = "tc.ingress"/default = "tc"/'
assert_eq 'vb tc.ingress,vd tc.ingress,vb tc.egress,vd tc.egress' "$(where attach)" 'what is attached to'
flood "$A" vc "$OUT/in" 700
flood "$B" vb "$OUT/in" 900
assert_match "^$link\$" "$(links_of "$B" vb)" 'the links of vb'
change 's/default = "tc"/default = "tc.ingress"/'
assert_eq 'vb tc.egress,vd tc.egress' "$(where detach)" 'what is detached from'
assert_eq "$link" "$(links_of "$B" vb)" 'the link of vb'
change 's/default = "vb,vd"/default = "vb,nothere"/'
assert_eq 'vb tc.egress,vd tc.egress,vd tc.ingress' "$(where detach)" 'what is detached from'
flood "$A" vc "$OUT/in" 600 # which nobody counts
assert_eq "$link" "$(links_of "$B" vb)" 'the link of vb'

# A set of another size is another map, one of another name another pin, and one that is not exported any more has none.
map=$(pinned seen)
change 's/max = 16/max = 32/'
[ "${map% *}" != "$(pinned seen | cut -d' ' -f1)" ] || fail 'a larger set is the same map'
assert_eq 1 "$(pinned seen | cut -d' ' -f2)" 'who is in the larger set'
change 's/export = true/export = "name"/'
assert_eq name "$(ls "$SETS")" 'what is pinned'
assert_eq 1 "$(pinned name | cut -d' ' -f2)" 'who is in the set with another name'
change 's/, export = "name"//'
[ ! -e "$SETS" ] || fail "there is still $(ls "$SETS")"

# One that cannot be attached to changes nothing.
caught
sed 's/default = "vb"/default = "vb,vd"/; s/"tc.ingress", "tc" }/"tc.ingress", "xdp" }/; s/default = "tc.ingress"/default = "xdp"/; s/wait = true/mode = "generic"/' \
	"$POLICIES/reload_outside.lua" >"$OUT/policy.new"
mv "$OUT/policy.new" "$OUT/policy.lua"
wait_for "[ \$(events '$OUT/run' error) -ge 1 ]" 30 'word that another mode needs a new start'
assert_match 'mode is another' "$(of error .message)" 'what is said of it'
settle "$from_a" "$number"
stop "$run"
judge "$OUT/run" --packets $(($(arrived) - rx + 1400 + 900)) --windows 5
assert_eq 'reload cleared reload reload reload reload reload reload reload cleared' "$(of capture .why | tr '\n' ' ' | sed 's/ $//')" 'why captures ended'
for file in "$OUT"/files/*.pcapng; do
	count=$(capinfos -c -M -T -r "$file" | cut -f2)
	[ "$count" -ge 100 ] || fail "$file has only $count packets"
done
assert_clean "$B" vb
