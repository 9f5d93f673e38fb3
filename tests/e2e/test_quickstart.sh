#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 900
#
# The quickstart as a person runs it: what it shows, that its counts are equal, and that nothing is left of it: after it has run
# through, and after a Ctrl-C in the middle of the flood, with its output on a terminal and not.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

need setsid script
QUICKSTART=$EXAMPLES/quickstart.sh
mkdir "$OUT/tmp"

# quickstart FILE: in a session of its own, as a terminal's; not with SIGINT ignored, as a shell's background has it.
quickstart() {
	: >"$1"
	TMPDIR=$OUT/tmp PERILUNE=$PERILUNE setsid env --default-signal=INT,QUIT sh "$QUICKSTART" >"$1" 2>&1 </dev/null &
	PID=$!
	PIDS="$PIDS $PID"
	NAMESPACES="$NAMESPACES perilune-out-$PID perilune-in-$PID"
}

# Whatever it has started has its TMPDIR in its environment.
processes() {
	grep -lsF "TMPDIR=$OUT/tmp" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ pid _; do
		! alive "$pid" || { tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null || :
	done
}

assert_nothing_left() {
	assert_eq '' "$(processes)" "the processes left $1"
	assert_eq '' "$(ip netns list | grep -E "^perilune-(in|out)-$2( |$)" || :)" "the namespaces left $1"
	assert_eq '' "$(find "$OUT/tmp" -mindepth 1)" "the temporary files left $1"
}

# The number behind words of the last report.
said() { sed -n "s/^  $2  *\([0-9,]*\)\( .*\)\{0,1\}$/\1/p" "$1" | tail -n 1 | tr -d ,; }

# The levels that a run's own lines tell, of FILE.
told() {
	sed -n 's/^[0-9][0-9:.]*  \([a-z]*\) → \([a-z]*\)  .*/\1 \2/p' "$1" | awk 'NR == 1 { print $1 } { print $2 }' | tr '\n' ' '
}

say '--- to its end'
quickstart "$OUT/whole"
whole=$PID
finish "$whole" 200
assert_eq 0 "$STATUS" 'the exit status of the quickstart'
assert_match '^calm alert siege (alert )?calm $' "$(told "$OUT/whole")" 'the levels it went through'
assert_match '→ alert  surge: attempts totals [0-9,]+/s above 1,000/s and .*( in 50ms)?$' "$(cat "$OUT/whole")" 'the reason for alert'
assert_match '→ siege  victim 192\.168\.50\.4: .* above 500/s' "$(cat "$OUT/whole")" 'the reason for siege'
assert_match '→ calm  .* for 2s$' "$(cat "$OUT/whole")" 'the reason for calm'
assert_eq 'calm alert siege' "$(sed -n 's/^  \([a-z]*\) → [a-z]*  [^ ].*/\1/p' "$OUT/whole" | awk '!seen[$0]++' | xargs)" 'the levels in its report'
assert_match '^  attackers named: 172\.16\.0\.5$' "$(cat "$OUT/whole")" 'the attackers'
before=$(sed '/^quickstart: a SYN flood/q' "$OUT/whole")
assert_match '  calm  (2,9|3,0)[0-9][0-9] packets/s' "$before" 'windows at the pace of the UDP'
assert_eq '' "$(printf '%s\n' "$before" | grep -E ' → (alert|siege) ' || :)" 'transitions before the flood'

flood=$(said "$OUT/whole" 'SYN flood')
sent=$(said "$OUT/whole" 'sent, say the generators')
counted=$(said "$OUT/whole" 'counted by perilune')
kernel=$(said "$OUT/whole" 'received, says the kernel')
shown=$(sed -n 's/^[0-9][0-9:.]*  end  \([0-9,]*\) packets  .*/\1/p' "$OUT/whole" | tr -d ,)
say "flood $flood, sent $sent, received $kernel, counted $counted, shown $shown"
assert_eq 26316 "$flood" 'the packets of the flood'
assert_eq "$sent" "$kernel" 'what the kernel has received'
assert_eq "$sent" "$counted" 'what perilune has counted'
assert_eq "$sent" "$shown" 'what the run that is shown has counted'
assert_match '^  EQUAL$' "$(cat "$OUT/whole")" 'the verdict'
assert_nothing_left 'at its end' "$whole"

say '--- Ctrl-C in the flood'
quickstart "$OUT/interrupted"
interrupted=$PID
wait_for "grep -q ' → siege  ' '$OUT/interrupted' || ! alive $interrupted" 100 'the siege'
assert_match '^perilune-in-' "$(ip netns list | grep "^perilune-in-$interrupted" || :)" 'its namespace, while it runs'
kill -INT "-$interrupted" # its whole group, as a terminal does it
finish "$interrupted" 30
assert_eq 130 "$STATUS" 'the exit status after Ctrl-C'
assert_match '  end  [0-9,]+ packets' "$(cat "$OUT/interrupted")" 'the end of the run that was interrupted'
assert_nothing_left 'after Ctrl-C' "$interrupted"

say '--- on a terminal, ended by SIGTERM'
TMPDIR=$OUT/tmp PERILUNE=$PERILUNE TERM=xterm script -qefc "stty cols 80 rows 24; exec sh '$QUICKSTART'" "$OUT/screen" \
	</dev/null >/dev/null 2>&1 &
terminal=$!
PIDS="$PIDS $terminal"
wait_for "[ -n \"\$(find '$OUT/tmp' -name events)\" ] || ! alive $terminal" 60 'its beginning'
shell=$(grep -lsF "TMPDIR=$OUT/tmp" /proc/[0-9]*/environ | while IFS=/ read -r _ _ pid _; do
	{ tr '\0' ' ' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -q "^sh .*quickstart.sh $" && echo "$pid"
done | sort -n | head -n 1)
NAMESPACES="$NAMESPACES perilune-out-$shell perilune-in-$shell"
wait_for "grep -q '\[calm\]' '$OUT/screen' || ! alive $terminal" 60 'the live view'
kill -TERM "$shell"
finish "$terminal" 30
assert_eq 143 "$STATUS" 'the exit status after SIGTERM'
assert_match 'syn-flood.*veth-in tc.ingress' "$(cat "$OUT/screen")" 'the header of the live view'
assert_eq '' "$(grep -o '^quickstart: .*' "$OUT/screen" || :)" 'lines of the script among the live view'
assert_nothing_left 'after SIGTERM' "$shell"

say '--- without privileges, and without perilune'
assert_exit 1 env PERILUNE=/nonexistent sh "$QUICKSTART"
assert_match '/nonexistent is missing' "$(cat "$OUT/stderr")" 'what it says without a perilune'
chmod 755 "$OUT"
mkdir -p "$OUT/copy/examples"
cp "$QUICKSTART" "$OUT/copy/examples/" # the source tree may be in a place that is closed to others
assert_exit 1 setpriv --reuid 65534 --regid 65534 --clear-groups sh "$OUT/copy/examples/quickstart.sh"
assert_match 'sudo sh examples/quickstart.sh' "$(cat "$OUT/stderr")" 'what it says without privileges'
say 'quickstart: as it should be'
