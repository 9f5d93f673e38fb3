# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
# ctest: timeout 900
#
# The table of packets on a wire, at every hook: sent through a veth pair as they are, and from a packet ring, whose frames have
# nothing but the link header in their linear part. A program without its pull of headers shows that they really are so. And
# datagrams that leave as one and are ten on the wire (UDP_SEGMENT).
# shellcheck source=tests/e2e/lib.sh
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need jq

live() { /usr/bin/python3 "$PERILUNE_SOURCE/tests/bpf/lib/live.py" "$@"; }

# counted FILE: packets of all windows so far.
counted() { json "$1" 'select(.event == "window") | .packets' | jq -s 'add // 0'; }

# one HOOK NAMESPACE IF plain|ring|segments [blind]
one() {
	count=$(live count "$1" "$4")
	file=$OUT/$1-$4-${5:-sees}
	start "$2" "$file" run "$OUT/table.lua" --set iface="$3" --set hook="$1" --set window=100ms --json
	start_event "$file" "$PID"
	ip netns exec "$A" /usr/bin/python3 "$PERILUNE_SOURCE/tests/bpf/lib/live.py" send "$1" va "$4"
	wait_for "[ \$(counted '$file') -ge $count ]" 30 "$count packets at $1"
	stop "$PID"
	live compare "$1" "$file" "$4" ${5:+"$5"}
	assert_clean "$2" "$3"
	say "$1, $4${5:+, $5}: $count packets"
}

net_up
live policy >"$OUT/table.lua"
one xdp "$B" vb plain
one tc.ingress "$B" vb plain
one tc.egress "$A" va plain
one tc.ingress "$B" vb ring
one tc.egress "$A" va ring
export A4 B4 A6 B6
one tc.ingress "$B" vb segments
one tc.egress "$A" va segments

mkdir -p "$OUT/blind/lua/perilune/build"
cp -r "$PERILUNE_SOURCE/bpf" "$OUT/blind/bpf"
sed -i 's/return bpf_skb_pull_data(.*/return bytes ? -1 : (long)skb->len;/' "$OUT/blind/bpf/hook.h"
grep -q 'return bytes ? -1' "$OUT/blind/bpf/hook.h" || fail "hook.h pulls headers in another way: change this test"
cat >"$OUT/blind/lua/perilune/build/plan.lua" <<LUA
local plan = dofile "$PERILUNE_SOURCE/lua/perilune/build/plan.lua"
local build = plan.build
function plan.build(...)
  local planned = build(...)
  table.insert(planned.args, 1, "-I$OUT/blind/bpf")
  return planned
end
return plan
LUA
export PERILUNE_PATH="$OUT/blind"
one tc.ingress "$B" vb ring blind
one tc.egress "$A" va ring blind
