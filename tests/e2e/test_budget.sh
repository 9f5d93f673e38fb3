#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest: serial
# ctest: timeout 300
#
# A policy over its budget is brought under it in a few steps, and gets back what it gave up when there is room; no packet is lost over
# it. What a packet costs here is measured first, so that the limit lies between what the policy takes and what is left of it. (That
# the steps take less than three seconds shows tests/lua/budget_spec.lua, on a clock of its own.)
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq
net_up
frames "$OUT/frames" "$AMAC" "$BMAC" 4096

# policy FILE COST: the hook's totals, and what costs much.
policy() {
	cat >"$1" <<-EOF
		return policy "thrifty" {
		  attach = { iface = "vb", hook = "tc.ingress" }, window = "1s",
		  always = { counter "totals" {}, flows "all" { features = { "timing", "server" }, sample = "auto" },
		    netflow "more" {} },
		  budget = { cost = "$2ns/packet", shed = { "more" } },
		}
	EOF
}

# of FILE FILTER: a value of each budget event.
of() { json "$1" "select(.event == \"budget\") | $2"; }

# traffic: for some twelve seconds, and it ends by itself: no process of it is left that sends on.
traffic() {
	run_in "$A" trafgen -q -C -P 1 -o va -c "$OUT/frames" -n 240000 -b 20000pps >"$OUT/trafgen" 2>&1 &
	TRAFFIC=$!
	PIDS="$PIDS $TRAFFIC"
}

# What it costs, and what there is left of that when all has been given up.
policy "$OUT/dear.lua" 1
start "$B" "$OUT/dear" run "$OUT/dear.lua" --json
start_event "$OUT/dear" "$PID"
traffic
wait_for "of '$OUT/dear' .what | grep -q spent" 60 'all to be given up'
finish "$TRAFFIC" 120
stop "$PID"
full=$(of "$OUT/dear" .cost | head -n 1)
least=$(of "$OUT/dear" 'select(.what == "spent") | .cost' | head -n 1)
[ "$full" -gt $((3 * least)) ] || fail "giving up everything saves too little to judge by: $full ns and $least ns"
limit=$((2 * least))

policy "$OUT/thrifty.lua" "$limit"
before=$(arrived)
start "$B" "$OUT/run" run "$OUT/thrifty.lua" --json
start_event "$OUT/run" "$PID"
traffic
wait_for "of '$OUT/run' 'select(.what == \"settled\" and .cost <= $limit) | .what' | grep -q settled" 60 'the cost to be under its limit'
steps=$(of "$OUT/run" .what | sed '/back/,$d' | grep -cE 'thin|shed|cap')
case $steps in
[1-6]) ;;
*) fail "$steps steps from over $limit ns to under" ;;
esac
finish "$TRAFFIC" 120

# Nobody sends any more: there is room for everything.
wait_for "of '$OUT/run' 'select(.what == \"back\" and .thin == 1 and .shed == []) | .what' | grep -q back" 60 'all to be given back'
wait_for idle 30
stop "$PID"

counted=$(json "$OUT/run" 'select(.event == "summary") | .packets')
assert_eq $(($(arrived) - before)) "$counted" 'packets counted'
assert_eq "$counted" "$(json "$OUT/run" 'select(.event == "records" and .probe == "totals") | .rows[].packets' | awk '{ s += $1 } END { print s }')" \
	'packets of the probe that sees all'
assert_match '^budget$' "$(json "$OUT/run" 'select(.event == "window") | .cut')" 'a window that the budget cut'
$PYTHON "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/run"
of "$OUT/run" .reason
say "$counted packets; from over $limit ns to under in $steps steps"
assert_clean "$B" vb
