# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# A policy's file changes while it runs under load: every packet is counted once, by the old one or the new one; what means the same
# goes on; what does not is cleared, and a level that it held waits for what is there now; a file that is wrong leaves the old one running.
# The audit log of it all is evaluated again.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq
net_up
frames "$OUT/in" "$AMAC" "$BMAC"

reloads() { events "$1" reload; }

# reload NAME HOOK TIMES KEPT [ANY]: changes the windows' length that many times, while packets come, and of the rule "any" what ANY
# says, with a number for NUMBER. KEPT: what is to go on.
reload() {
	name=$1 hook=$2 times=$3 kept=$4 any=${5:-}
	cp "$POLICIES/reload.lua" "$OUT/policy.lua"
	start "$B" "$OUT/$name" run "$OUT/policy.lua" --watch --json --audit "$OUT/$name.audit" --set iface=vb --set hook="$hook"
	run=$PID
	start_event "$OUT/$name" "$run"
	rx=$(arrived) from_a=$(sent "$A" va) number=0
	until [ "$(events "$OUT/$name" action)" -ge 1 ]; do
		alive "$run" || fail "it has ended: $(cat "$OUT/$name.err")"
		flood "$A" va "$OUT/in" 1000
		number=$((number + 1000))
	done
	done=0
	while [ "$done" -lt "$times" ]; do
		done=$((done + 1))
		sed "s/\"100ms\"/\"$((100 + done))ms\"/; $(say "$any" | sed "s/NUMBER/$done/")" "$POLICIES/reload.lua" >"$OUT/policy.new"
		mv "$OUT/policy.new" "$OUT/policy.lua"
		until [ "$(reloads "$OUT/$name")" -ge "$done" ]; do
			alive "$run" || fail "it has ended: $(cat "$OUT/$name.err")"
			assert_eq 0 "$(events "$OUT/$name" error)" 'errors'
			flood "$A" va "$OUT/in" 20000
			number=$((number + 20000))
		done
	done
	echo 'not Lua' >>"$OUT/policy.lua"
	wait_for "[ \$(events '$OUT/$name' error) -ge 1 ]" 30 'word of a wrong file'
	flood "$A" va "$OUT/in" 1000
	settle "$from_a" $((number + 1000))
	stop "$run"
	judge "$OUT/$name" --packets $(($(arrived) - rx)) --windows 5 --probe from,levels=siege
	assert_clean "$B" vb
	assert_eq "$times" "$(reloads "$OUT/$name")" 'reloads'
	assert_eq 1 "$(json "$OUT/$name" 'select(.event == "transition") | .to' | wc -l)" 'changes of level'
	assert_eq "$kept" \
		"$(json "$OUT/$name" 'select(.event == "reload") | .kept | join(", ")' | sort -u)" 'what was kept'
	fired=$((${any:+$times} + 2))
	assert_eq "$fired" "$(json "$OUT/$name" 'select(.event == "rule" and .state == "firing") | .rule' | wc -l)" 'rules that fired'
	assert_eq "${any:+$times}" "$(json "$OUT/$name" 'select(.event == "rule" and .why == "reload") | .rule' | grep -c '^any$' | sed 's/^0$//')" \
		'rules that were cleared by it'
	"$PERILUNE" explain --verify "$OUT/$name.audit" >"$OUT/verified" 2>&1 || fail "the audit log: $(cat "$OUT/verified")"
	sed 's/,"rule talker"\]/]/' "$OUT/$name.audit" >"$OUT/forged.audit" # then its instances should have been cleared
	assert_exit 1 "$PERILUNE" explain --verify "$OUT/forged.audit"
	assert_match "reload .*policy.lua  kept level siege" "$("$PERILUNE" explain "$OUT/$name.audit")" 'the story'
	assert_eq 1 "$(events "$OUT/$name" action)" 'actions'
	assert_match 'policy.lua:' "$(json "$OUT/$name" 'select(.event == "error") | .message')" 'what is said of the wrong file'
	# The set is the kernel's from each new one's first packet: its probe sees all packets, but the first before there was a member.
	behind=$(json "$OUT/$name" 'select(.event == "action") | .seq')
	missing=$(json "$OUT/$name" "select(.event == \"window\" and .seq > $behind + 1) | .packets" | awk '{ s += $1 } END { print s + 0 }')
	deep=$(json "$OUT/$name" "select(.event == \"records\" and .probe == \"deep\" and .seq > $behind + 1)
		| [.rows[].packets] | add // 0" | awk '{ s += $1 } END { print s + 0 }')
	assert_eq "$missing" "$deep" 'packets that the limited probe has seen'
}

reload tc tc.ingress 5 'level siege, set talkers, rule any, rule talker'
reload xdp xdp 5 'level siege, set talkers, rule talker' \
	's|above "1/s", clear = rate("totals.packets"):below "0/s", hold|below "90000NUMBER/s", clear = rate("totals.packets"):above "9M/s", hold|'
