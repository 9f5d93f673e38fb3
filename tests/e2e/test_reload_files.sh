# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
#
# What --watch looks at and how it loads: a module beside the policy counts as the policy, also one that is wrong and is put right;
# windows go on while a file is loaded that takes long; it is the same with clsact, and with triggers.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq
net_up
frames "$OUT/in" "$AMAC" "$BMAC"
mkdir "$OUT/policy"

settings() { # MODE ENTRIES ROUNDS
	say "return { mode = \"$1\", entries = $2, rounds = $3 }" >"$OUT/policy/new"
	mv "$OUT/policy/new" "$OUT/policy/settings.lua"
}

reloads() { events "$OUT/$1" reload; }
windows() { events "$OUT/$1" window; }
said() { grep -c "^$2\$" "$OUT/$1.err" || true; }

watched() {
	mode=$1
	cp "$POLICIES/reload_slow.lua" "$OUT/policy/slow.lua"
	settings "$mode" 64 1
	start "$B" "$OUT/$mode" run "$OUT/policy/slow.lua" --watch --json --set iface=vb
	run=$PID
	start_event "$OUT/$mode" "$run"
	rx=$(arrived) from_a=$(sent "$A" va)
	flood "$A" va "$OUT/in" 1000
	wait_for "[ \$(events '$OUT/$mode' transition) -ge 1 ]" 30 'the deeper level'

	# It takes some tenths of a second of the processor, in which windows of 20 ms go on.
	before=$(said "$mode" loading)
	settings "$mode" 128 2500000
	wait_for "[ \$(said '$mode' loading) -gt $before ]" 30 'the slow load'
	begun=$(windows "$mode")
	wait_for "[ \$(said '$mode' loaded) -gt $before ]" 30 'the end of the slow load'
	[ $(($(windows "$mode") - begun)) -ge 4 ] || fail "$mode: windows waited for the load"
	flood "$A" va "$OUT/in" 5000
	wait_for "[ \$(reloads '$mode') -ge 1 ]" 60 'the reload'

	# A module that is missing, wrong, right again.
	rm "$OUT/policy/settings.lua"
	wait_for "grep -q 'module .*settings.*No such file' '$OUT/$mode'" 30 'word of a missing module'
	say 'return {' >"$OUT/policy/settings.lua"
	wait_for "grep -q 'settings.lua:2: ' '$OUT/$mode'" 30 'word of a wrong module'
	flood "$A" va "$OUT/in" 5000
	settings "$mode" 256 1
	wait_for "[ \$(reloads '$mode') -ge 2 ]" 60 'the reload with the module put right'
	flood "$A" va "$OUT/in" 1000
	settle "$from_a" 12000
	stop "$run"
	judge "$OUT/$mode" --packets $(($(arrived) - rx)) --windows 5 --probe to,levels=deep
	assert_eq 1 "$(events "$OUT/$mode" transition)" "$mode: changes of level"
	assert_clean "$B" vb
}

watched tcx
watched clsact
