# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
#
# What of a policy is beyond its programs, when it is loaded anew: receivers that mean the same are not told again, others are told of the
# end; a capture goes on in another file.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq capinfos
net_up
frames "$OUT/in" "$AMAC" "$BMAC" 16
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
settle "$from_a" $((number + 500))
stop "$run"
judge "$OUT/run" --packets $(($(arrived) - rx)) --windows 5
assert_eq 'reload cleared cleared' "$(of capture .why | tr '\n' ' ' | sed 's/ $//')" 'why captures ended'
for file in "$OUT"/files/*.pcapng; do
	count=$(capinfos -c -M -T -r "$file" | cut -f2)
	[ "$count" -ge 100 ] || fail "$file has only $count packets"
done
assert_clean "$B" vb
