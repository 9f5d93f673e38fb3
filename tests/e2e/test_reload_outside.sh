# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
#
# What of a policy is beyond its programs, when it is loaded anew: receivers that mean the same are not told again, others are told of the
# end; a capture goes on in another file; interfaces and hooks that stay are not interrupted, others come and go.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq capinfos
net_up
frames "$OUT/in" "$AMAC" "$BMAC" 16
ip -n "$A" link add vc type veth peer name vd netns "$B"
ip -n "$A" link set vc arp off up
run_in "$B" sysctl -qw net.ipv6.conf.vd.disable_ipv6=1
run_in "$A" sysctl -qw net.ipv6.conf.vc.disable_ipv6=1
ip -n "$B" link set vd arp off up
mkdir "$OUT/files"

of() { json "$OUT/run" "select(.event == \"$1\") | $2"; }

# change SED: the policy changes, and is loaded anew under traffic.
reloads=0
change() {
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

number=0
change 's/x/x/'
start "$B" "$OUT/run" run "$OUT/policy.lua" --watch --json
run=$PID
start_event "$OUT/run" "$run"
rx=$(arrived) from_a=$(sent "$A" va)
flood "$A" va "$OUT/in" 500
number=$((number + 500))
wait_for "[ \"\$(told told)\" = 'firing ' ]" 30 'word that it fires'

change 's/"100ms"/"110ms"/'
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

# One that cannot be attached to changes nothing.
sed 's/default = "vb"/default = "vb,vd"/; s/"tc.ingress", "tc" }/"tc.ingress", "xdp" }/; s/default = "tc.ingress"/default = "xdp"/; s/wait = true/mode = "generic"/' \
	"$POLICIES/reload_outside.lua" >"$OUT/policy.new"
mv "$OUT/policy.new" "$OUT/policy.lua"
wait_for "[ \$(events '$OUT/run' error) -ge 1 ]" 30 'word that another mode needs a new start'
assert_match 'mode is another' "$(of error .message)" 'what is said of it'
settle "$from_a" "$number"
stop "$run"
judge "$OUT/run" --packets $(($(arrived) - rx + 1400 + 900)) --windows 5
assert_eq 'reload cleared reload reload reload reload cleared' "$(of capture .why | tr '\n' ' ' | sed 's/ $//')" 'why captures ended'
for file in "$OUT"/files/*.pcapng; do
	count=$(capinfos -c -M -T -r "$file" | cut -f2)
	[ "$count" -ge 100 ] || fail "$file has only $count packets"
done
assert_clean "$B" vb
