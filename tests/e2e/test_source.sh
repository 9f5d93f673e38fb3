# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
#
# Own code, live: its rows are all packets, over windows and over changes of the code while it runs; code that is wrong leaves the old
# one running and is told at its own line; and by itself in one line, without a policy.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq
net_up
frames "$OUT/in" "$AMAC" "$BMAC"
sed -i 's/ipv4(/ipv4(ttl=61, /' "$OUT/in"

cat >"$OUT/own.lua" <<'END'
local hook = option "hook" { default = "tc.ingress" }
return policy "own" { attach = { iface = "vb", hook = hook }, window = "100ms", always = {
  source "ports" { file = "code/own.bpf.c", entries = 4096 },
  source "few" { file = "code/own.bpf.c", entries = 16, filter = "udp" } } }
END
mkdir "$OUT/code"

# own NAME: the code, in which NAME is what every row has besides.
own() {
	cat >"$OUT/code/new" <<END
#include "key.h"
struct NAME(value) { __u64 packets; __u64 $1; };
WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(key) key = {.port = p->sport, .ttl = p->ttl};
	struct NAME(value) fresh = {}, *row;

	if (p->parsed != PARSED)
		return;
	row = half__row(&NAME(rows), p->half, &key, &fresh);
	if (row) {
		count__shared(row->packets, p->segments);
		count__shared(row->$1, packet__bytes(p));
	} else if ((row = half__value(&NAME(other), p->half, 1, 0)))
		count__own(row->packets, p->segments);
}
END
	mv "$OUT/code/new" "$OUT/code/own.bpf.c"
}
echo 'struct NAME(key) { __be16 port; __u8 ttl; __u8 pad; };' >"$OUT/code/key.h"

# rows FILE PROBE FIELD: its sum over all windows.
rows() { json "$1" "select(.event == \"records\" and .probe == \"$2\") | [.rows[].$3 // 0] | add // 0" | awk '{ s += $1 } END { printf "%.0f", s }'; }
reloads() { events "$1" reload; }

# live NAME HOOK
live() {
	file=$OUT/$1
	own bytes
	start "$B" "$file" run "$OUT/own.lua" --watch --json --set hook="$2"
	run=$PID
	start_event "$file" "$run"
	rx=$(arrived) from_a=$(sent "$A" va)
	flood "$A" va "$OUT/in" 20000
	own octets
	number=20000
	until [ "$(reloads "$file")" -ge 1 ]; do
		alive "$run" || fail "it has ended: $(cat "$file.err")"
		flood "$A" va "$OUT/in" 10000
		number=$((number + 10000))
	done
	flood "$A" va "$OUT/in" 20000
	echo 'int broken(' >>"$OUT/code/key.h"
	wait_for "[ \$(events '$file' error) -ge 1 ]" 30 'word of code that is wrong'
	flood "$A" va "$OUT/in" 20000
	settle "$from_a" $((number + 40000))
	stop "$run"
	packets=$(($(arrived) - rx))
	judge "$file" --packets "$packets" --windows 3
	assert_clean "$B" vb
	assert_eq 1 "$(reloads "$file")" 'reloads'
	assert_match 'code/key.h:2: ' "$(json "$file" 'select(.event == "error") | .message')" 'where the code is wrong'
	assert_eq "$packets" "$(rows "$file" ports packets)" 'packets of all rows'
	assert_eq $((packets * 92)) $(($(rows "$file" ports bytes) + $(rows "$file" ports octets))) 'octets of all rows'
	assert_eq "$packets" $(($(rows "$file" few packets) + $(json "$file" 'select(.event == "summary") | .loss.map_full'))) \
		'packets of a map that is too small, and its loss'
	assert_eq 61 "$(json "$file" 'select(.event == "records" and .probe == "ports") | .rows[].ttl' | sort -u)" 'TTLs'
	head -n 1 "$OUT/code/key.h" >"$OUT/code/key.h.new"
	mv "$OUT/code/key.h.new" "$OUT/code/key.h"
}

live tc tc.ingress
live xdp xdp

# By itself: typed, started, looked at.
own bytes
(cd "$OUT" && exec ip netns exec "$B" "$PERILUNE" -e 'source "ports" {
	file = "code/own.bpf.c", iface = "vb", hook = "tc.ingress", window = "100ms" }:watch():top(3, "packets")') >"$OUT/one" 2>&1 </dev/null &
run=$!
PIDS="$PIDS $run"
wait_for "grep -q attach '$OUT/one' || ! alive $run" 30 'a probe that is typed'
until grep -qE '^ *[0-9]+ +61 +[0-9]+ ' "$OUT/one"; do
	alive "$run" || fail "it has ended: $(cat "$OUT/one")"
	flood "$A" va "$OUT/in" 1000
done
kill -INT "$run"
finish "$run" # an interrupted command is no success
assert_clean "$B" vb
