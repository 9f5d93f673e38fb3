#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest: cost 45
# ctest: once
# ctest: timeout 900
#
# A policy over its budget is brought under it in a few steps, and gets back what it gave up when there is room; both are in the audit
# log, and no packet is lost over it. What a packet costs here is measured first, so that each limit lies between what the policy takes
# and what is left of it. Traffic lasts until what is waited for is there, and comes in bursts, one a second, or steadily. (That the steps
# take less than three seconds shows tests/lua/meter_spec.lua, on a clock of its own: here others may have the CPUs.)
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq setsid
net_up
frames "$OUT/frames" "$AMAC" "$BMAC" 4096
PACE=20000

# policy FILE BUDGET [SAMPLE]: the hook's totals, and below them what costs much, which a rule asks for where there is traffic.
policy() {
	cat >"$1" <<-EOF
		local all = rate "totals.packets"
		return policy "thrifty" {
		  attach = { iface = "vb", hook = "tc.ingress" }, window = "1s",
		  always = { counter "totals" {} },
		  levels = { level "calm" {}, level "deep" { flows "all" { features = { "timing", "server" }$3 }, netflow "more" {} } },
		  rules = { rule "some" { when = all:above "200/s", clear = all:below "50/s", hold = "deep" } },
		  budget = { $2 },
		}
	EOF
}

# of FILE FILTER: a value of each budget event.
of() { json "$1" "select(.event == \"budget\") | $2"; }

# traffic FLAGS…: until `quiet`. In a session of its own, since trafgen sends from a child.
traffic() {
	ip netns exec "$A" setsid trafgen -q -C -P 1 -o va -c "$OUT/frames" "$@" >"$OUT/trafgen" 2>&1 &
	TRAFFIC=$!
	PIDS="$PIDS $TRAFFIC"
	TRAFFIC_BEGIN=$(date +%s.%N)
}

quiet() {
	kill -KILL -"$TRAFFIC"
	finish "$TRAFFIC"
	wait_for idle 30
}

# begin NAME: perilune with the policy of that name, its events in $OUT/NAME, its audit log in $OUT/NAME.log.
begin() {
	before=$(arrived)
	start "$B" "$OUT/$1" run "$OUT/$1.lua" --json --audit "$OUT/$1.log"
	start_event "$OUT/$1" "$PID"
}

# wait_budget FILE FILTER WHAT
wait_budget() { wait_for "of '$1' 'select($2) | .what' | grep -q ." 90 "$3"; }

# end NAME: every packet was counted, all that was said of the budget is in the audit log too, and what was logged leads to the same again.
end() {
	wait_for idle 30
	stop "$PID"
	counted=$(json "$OUT/$1" 'select(.event == "summary") | .packets')
	assert_eq $(($(arrived) - before)) "$counted" "$1: packets counted"
	assert_eq "$counted" "$(json "$OUT/$1" 'select(.event == "records" and .probe == "totals") | .rows[].packets' |
		awk '{ s += $1 } END { print s + 0 }')" "$1: packets of the probe that sees all"
	assert_eq "$(of "$OUT/$1" .reason)" "$(of "$OUT/$1.log" .reason)" "$1: what the audit log has of the budget"
	"$PERILUNE" explain --verify "$OUT/$1.log" >"$OUT/$1.story" || fail "$1: the audit log does not verify"
	"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/$1"
	of "$OUT/$1" '.time[11:23] + " " + .reason'
	assert_clean "$B" vb
}

# took NAME: seconds from the traffic's begin until the budget had settled under its limit.
took() {
	of "$OUT/$1" 'select(.what == "settled" and (.cost_limit == null or .cost <= .cost_limit) and
		(.cpu_limit == null or .cpu <= .cpu_limit)) | .time' | head -n 1 | {
		read -r settled
		printf '%s %s\n' "$(date -d "$settled" +%s.%N)" "$TRAFFIC_BEGIN" | awk '{ printf "%.1f", $1 - $2 }'
	}
}

# What it costs, and what there is left of that when all has been given up.
policy "$OUT/dear.lua" 'cost = "1ns/packet", cpu = "0.01%", shed = { "more" }' ', sample = "auto"'
begin dear
traffic -b ${PACE}pps
wait_budget "$OUT/dear" '.what == "cap"' 'all to be given up'
quiet
end dear
full=$(of "$OUT/dear" 'select(.level == "deep") | .cost' | head -n 1)
least=$(of "$OUT/dear" 'select(.what == "cap") | .cost' | head -n 1)
[ "$full" -gt $((3 * least)) ] || fail "giving up everything saves too little to judge by: $full ns and $least ns"
limit=$((2 * least))

# Over its cost: it thins and sheds, in a few steps; once nobody sends, there is room for everything.
policy "$OUT/thrifty.lua" "cost = \"${limit}ns/packet\", shed = { \"more\" }" ', sample = "auto"'
begin thrifty
traffic -b ${PACE}pps
wait_budget "$OUT/thrifty" ".what == \"settled\" and .cost <= $limit" 'the cost to be under its limit'
steps=$(of "$OUT/thrifty" .what | sed '/back/,$d' | grep -cE 'thin|shed|cap')
case $steps in
[1-8]) ;;
*) fail "$steps steps from over $limit ns to under" ;;
esac
quiet
wait_budget "$OUT/thrifty" '.what == "back" and .thin == 1 and .shed == []' 'all to be given back'
end thrifty
assert_match '^budget$' "$(json "$OUT/thrifty" 'select(.event == "window") | .cut')" 'a window that the budget cut'
say "from over $limit ns to under in $steps steps and $(took thrifty) s, in bursts"

# Nothing to thin or shed, and steady traffic, which costs more a packet: the level goes, though the rule holds it, and comes back where packets come too seldom to cost much.
limit=$((full / 2))
policy "$OUT/capped.lua" "cost = \"${limit}ns/packet\"" ''
begin capped
traffic -t 40us
wait_budget "$OUT/capped" ".what == \"settled\" and .cap == \"calm\" and .cost <= $limit" 'the level to be capped'
say "from over $limit ns to under by a level less in $(took capped) s, steadily"
quiet
traffic -t 2ms
wait_budget "$OUT/capped" '.what == "back" and .cap == null' 'the level to be given back'
wait_for "json '$OUT/capped' 'select(.event == \"transition\") | .to' | sed 1d | grep -q deep" 30 'the level to be deep again'
quiet
end capped
assert_eq 'deep calm deep' "$(json "$OUT/capped" 'select(.event == "transition") | .to' | head -n 3 | xargs)" 'the levels'
assert_eq budget "$(json "$OUT/capped" 'select(.event == "transition") | .capped_by[]' | head -n 1)" 'who caps the level'
assert_eq true "$(json "$OUT/capped" "select(.event == \"transition\" and .from == \"deep\") |
	.cost_before > $limit and .cost_after < $limit" | head -n 1)" 'what packets cost at the level left, and at the one entered'
assert_match 'because deep held by some, capped at calm by budget' "$("$PERILUNE" explain "$OUT/capped.log")" 'the story of it'

# The same for its share of a core, which is of packets a second, not of those in a burst.
share=$(awk "BEGIN { printf \"%.2f\", $full * 2 * $PACE / 1e7 / 3 }") # percent: of what all would be
policy "$OUT/share.lua" "cpu = \"$share%\", shed = { \"more\" }" ', sample = "auto"'
begin share
traffic -b $((2 * PACE))pps
wait_budget "$OUT/share" '.what == "settled" and .cpu <= .cpu_limit' 'the share to be under its limit'
quiet
wait_budget "$OUT/share" '.what == "back" and .thin == 1 and .shed == []' 'all to be given back'
end share
assert_eq true "$(of "$OUT/share" 'select(.cpu) | .cpu < 0.5' | sort -u)" 'no share of a burst'
say "from over $share % of a core to under in $(took share) s, in bursts"
