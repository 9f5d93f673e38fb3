# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: timeout 240
#
# Several policies at once: each counts all there is, and what happens to one is nothing to the others.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need jq bpftool
net_up
count=$POLICIES/count.lua
frames "$OUT/in" "$AMAC" "$BMAC"

# start_all FILE POLICIES ARGUMENTS…: a run, until that many policies are attached to both directions of vb.
start_all() {
	file=$1 number=$2
	shift 2
	start "$B" "$file" run "$@" --json --set iface=vb
	wait_for "[ \$(events '$file' attach) -ge $((2 * number)) ] || ! alive $PID" 60 "the attach events in $(basename "$file")"
	alive "$PID" || fail "perilune ended at its start: $(cat "$file.err")"
}

# child PID WORD: the process of one policy of that run.
child() {
	tr " " "\n" <"/proc/$1/task/$1/children" | while read -r pid; do
		! tr '\0' '\n' <"/proc/$pid/cmdline" | grep -qxF -- "$2" || say "$pid"
	done
}

# traffic NUMBER: frames to vb; how many arrived there is left in ARRIVED.
traffic() {
	before=$(arrived) from_a=$(sent "$A" va)
	flood "$A" va "$OUT/in" "$1"
	settle "$from_a" "$1"
	ARRIVED=$(($(arrived) - before))
}

# counted FILE POLICY NUMBER: that policy has counted so many packets, and its windows add up.
counted() {
	json "$1" "select(.policy == \"$2\") | tojson" >"$1.$2"
	judge "$1.$2" --packets "$3"
}

# words FILE POLICY: what the error events of a policy say.
words() { json "$1" "select(.event == \"error\" and .policy == \"$2\") | .message"; }

# Two instances of one file, and another policy with rows of its own, whose lines are long.
start_all "$OUT/three" 3 "one=$count" "two=$count" "$POLICIES/rows.lua" --set window=100ms
run=$PID
traffic 20000
stop "$run" TERM
for policy in one two rows; do counted "$OUT/three" "$policy" "$ARRIVED"; done
[ "$(awk 'length > max { max = length } END { print max }' "$OUT/three")" -gt 65536 ] || fail 'no line is longer than a pipe'
assert_eq '' "$(cat "$OUT/three.err")" 'what it said'
assert_clean "$B" vb
say "three policies: $ARRIVED packets, counted by each"

# One that does not load, one that hangs, one that is killed.
cat >"$OUT/bad.lua" <<-EOF
	return policy "bad" { always = { counter "totals" { features = { "nonsense" } } } }
EOF
start_all "$OUT/mixed" 3 "$OUT/bad.lua" "one=$count" "killed=$count" "hangs=$count"
run=$PID
kill -STOP "$(child "$run" "hangs=$count")"
traffic 5000
kill -KILL "$(child "$run" "killed=$count")"
wait_for "[ -n \"\$(words '$OUT/mixed' killed)\" ]" 20 'word of the end of the one that was killed'
first=$ARRIVED
traffic 5000
assert_match 'was ended by SIGKILL' "$(words "$OUT/mixed" killed)" 'what it says of the killed one'
assert_match 'ended with exit status 2' "$(words "$OUT/mixed" bad)" 'what it says of the one that does not load'
assert_match "^bad: perilune: .*bad.lua:1: .*nonsense" "$(cat "$OUT/mixed.err")" 'what the one that does not load said'
kill -CONT "$(child "$run" "hangs=$count")"
kill -INT "$run"
finish "$run"
assert_eq 2 "$STATUS" 'the worst exit status'
counted "$OUT/mixed" one $((first + ARRIVED))
counted "$OUT/mixed" hangs $((first + ARRIVED))
assert_eq 0 "$(json "$OUT/mixed" 'select(.policy == "killed" and .event == "summary") | 1' | wc -l)" 'summaries of the killed one'
"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/mixed" || fail 'its lines'
assert_clean "$B" vb
say "one that fails, one that is killed, one that hangs: $((first + ARRIVED)) packets, counted by the others"

# The one that started them is killed: they end too.
start_all "$OUT/orphans" 2 "one=$count" "two=$count"
run=$PID
children=$(cat "/proc/$run/task/$run/children")
assert_eq 2 "$(printf '%s\n' "$children" | wc -w)" 'children'
kill -STOP "$(child "$run" "two=$count")" # it cannot see that nobody reads any more
kill -KILL "$run"
finish "$run"
for pid in $children; do wait_for "! alive $pid" 20 "the end of $pid"; done
wait_for "[ -z \"\$(links_of '$B' vb)\" ]" 10 'an interface without links'
assert_clean "$B" vb
say 'killed as a whole'

# A reader that has gone ends all of them, and well.
mkfifo "$OUT/pipe"
ip netns exec "$B" "$PERILUNE" run "one=$count" "two=$count" --json --set iface=vb </dev/null >"$OUT/pipe" 2>"$OUT/closed.err" &
run=$!
PIDS="$PIDS $run"
head -n 3 <"$OUT/pipe" >"$OUT/closed"
finish "$run"
assert_eq 0 "$STATUS" 'the exit status with a closed output'
assert_eq 3 "$(wc -l <"$OUT/closed")" 'lines'
rm "$OUT/pipe"
assert_clean "$B" vb

# As text, every line is somebody's; and it ends by itself.
assert_exit 0 run_in "$B" "$PERILUNE" run "a=$count" "b=$count" --set iface=vb --for 300ms
assert_eq '' "$(grep -vE '^[ab]: ' "$OUT/stdout" || :)" 'lines of nobody'
assert_match '^a: .* attach vb' "$(cat "$OUT/stdout")" 'what a says'
assert_match '^b: .* attach vb' "$(cat "$OUT/stdout")" 'what b says'

# What is wrong before anything runs.
assert_exit 2 run_in "$B" "$PERILUNE" run "$count" "$count"
assert_match 'both called "count" \(give one another name' "$(cat "$OUT/stderr")" 'one name twice'
assert_exit 2 run_in "$B" "$PERILUNE" run "$count" "$POLICIES/rows.lua" --set ifcae=vb
assert_match 'no policy has an option "ifcae" \(did you mean "iface"' "$(cat "$OUT/stderr")" 'an option of none'
assert_exit 2 run_in "$B" "$PERILUNE" serve --listen "unix:$OUT/sock" "$OUT/nosuch.lua"
assert_match "^perilune: $OUT/nosuch.lua: there is no such file \\(is the path right" "$(cat "$OUT/stderr")" 'a daemon of a policy that is not there'
assert_exit 2 run_in "$B" "$PERILUNE" run "$count" "$POLICIES/rows.lua" --for ever
# One alone may have another name as well.
assert_exit 0 run_in "$B" "$PERILUNE" run "alone=$count" --set iface=vb --for 100ms --json
assert_eq alone "$(jq -r .policy "$OUT/stdout" | sort -u)" 'the name'
assert_clean "$B" vb
say 'names, options and lines'
