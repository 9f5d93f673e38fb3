# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# ctest: once
#
# A bundle runs where there is no clang as its policy does where there is one: checked, replayed line for line, live with exact counts; what it
# holds nothing for, what does not fit this perilune, and what is damaged is said.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need trafgen jq
net_up
frames "$OUT/in" "$AMAC" "$BMAC"
cd "$OUT"

mkdir -p policy/code
cat >policy/edge.lua <<'END'
local sizes = require "sizes"
local iface = option "iface" { type = "iface" }
local hook  = option "hook"  { default = "tc.ingress" }
local most  = option "most"  { default = "1k/s" }
local named = option "named" { default = 1 }
return policy "edge" {
  attach = { iface = iface, hook = hook }, window = "100ms",
  always = { counter "all" {}, flows "from" { key = "src", filter = "udp or tcp" },
    source "own" { file = "code/own.bpf.c", knobs = { named = named }, entries = sizes.entries } },
  levels = { level "calm" {}, level "busy" {} },
  rules = { rule "many" { when = rate("own.packets"):above(most), clear = rate("own.packets"):below "1/s", hold = "busy" } },
}
END
echo 'return { entries = 4096 }' >policy/sizes.lua
cat >policy/code/own.bpf.c <<'END'
#include "key.h"
struct NAME(value) { __u64 packets; };
WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(key) key = {.port = p->sport, .named = KNOB_named};
	struct NAME(value) fresh = {}, *row = half__row(&NAME(rows), p->half, &key, &fresh);

	if (row)
		count__shared(row->packets, p->segments);
	else if ((row = half__value(&NAME(other), p->half, 1, 0)))
		count__own(row->packets, p->segments);
}
END
echo 'struct NAME(key) { __be16 port; __u16 named; };' >policy/code/key.h

# bare ARGUMENTS…: perilune with an empty cache and no compiler.
bare() { env -u PERILUNE_CLANG PATH=/nowhere PERILUNE_CACHE="$OUT/empty" "$PERILUNE" "$@"; }
# wrong STATUS PATTERN ARGUMENTS…
wrong() {
	expected=$1 pattern=$2
	shift 2
	assert_exit "$expected" bare "$@"
	assert_match "$pattern" "$(cat "$OUT/stderr")" "$*"
}

assert_exit 0 "$PERILUNE" build policy/edge.lua -o edge.bundle
wrong 2 'there is no clang' check policy/edge.lua
mv policy elsewhere # nothing of it is read from now on
assert_exit 0 bare check edge.bundle
assert_match 'edge.bundle/edge.lua: edge: levels calm, busy: .* \(in the bundle\), verified' "$(cat stdout)" 'check'

# The same lines, but for the name of the file.
"$PERILUNE" replay elsewhere/edge.lua "$PCAPS/wikipedia.pcap" --json | sed 's/"file":"[^"]*",//' >from.policy
bare replay edge.bundle "$PCAPS/wikipedia.pcap" --json | sed 's/"file":"[^"]*",//' >from.bundle
[ "$(wc -l <from.bundle)" -gt 20 ] || fail 'a replay of a bundle that says nothing'
cmp from.policy from.bundle || fail 'a bundle replays otherwise than its policy'

# Live; the threshold is set anew, which no program depends on.
rx=$(arrived) from_a=$(sent "$A" va)
ip netns exec "$B" env PATH=/nowhere PERILUNE_CACHE="$OUT/empty" "$PERILUNE" run edge.bundle --json --set iface=vb --set most=2k/s \
	>live 2>live.err </dev/null &
run=$!
PIDS="$PIDS $run"
start_event live "$run"
flood "$A" va in 30000
settle "$from_a" 30000
stop "$run"
judge live --packets $(($(arrived) - rx))
assert_clean "$B" vb
for probe in own from; do
	assert_eq $(($(arrived) - rx)) "$(json live "select(.event == \"records\" and .probe == \"$probe\") | [.rows[].packets] | add // 0" |
		awk '{ s += $1 } END { print s }')" "packets of all rows of $probe"
done
assert_match 'above 2,000/s' "$(json live 'select(.event == "transition") | .reason' | head -n 1)" 'the threshold that was set'

# Another hook or knob is another program.
wrong 2 'edge.bundle holds no program for <policy edge> as it is set here \(it was built without --set' check edge.bundle --set hook=xdp
wrong 2 'edge.bundle holds no program for <source own>' check edge.bundle --set named=2
assert_exit 0 "$PERILUNE" build elsewhere/edge.lua -o other.bundle --set hook=xdp --set named=2
assert_exit 0 bare check other.bundle
wrong 2 'built with --set hook=xdp --set named=2' check other.bundle --set hook=tc
assert_exit 2 "$PERILUNE" build edge.bundle -o twice.bundle
assert_match 'is a bundle already' "$(cat stderr)" 'a bundle of a bundle'

# A template that is another here; a damaged bundle; one of another perilune or format.
mkdir -p own/templates
cp -r "$PERILUNE_SOURCE/templates/flows" own/templates/
echo '/* more */' >>own/templates/flows/template.bpf.h
PERILUNE_PATH="$OUT/own" wrong 2 'the template flows is another here' check edge.bundle
"$PYTHON" - <<'END'
import hashlib, json
whole = open("edge.bundle", "rb").read()
first, head, rest = whole.split(b"\n", 2)
def write(name, **changes):
    text = json.dumps(dict(json.loads(head), **changes)).encode()
    digest = hashlib.sha256(text).hexdigest().encode()
    open(name, "wb").write(b"perilune bundle 1 " + digest + b"\n" + text + b"\n" + rest)
write("same.bundle")
write("old.bundle", headers="0" * 64, perilune="0.0.9")
write("big.bundle", order="big")
write("odd.bundle", files=3)
open("torn.bundle", "wb").write(whole[:-1000] + b"x" + whole[-999:])
open("cut.bundle", "wb").write(whole[:-1])
open("new.bundle", "wb").write(whole.replace(b"bundle 1", b"bundle 9", 1))
END
assert_exit 0 bare check same.bundle
wrong 2 'made by perilune 0.0.9, whose programs are not those of this perilune' check old.bundle
wrong 2 'made for a big-endian machine' check big.bundle
wrong 2 'a bundle of format 9, and this perilune reads format 1' check new.bundle
for name in torn cut odd; do wrong 2 "$name.bundle: the bundle is damaged" check "$name.bundle"; done
[ ! -e "$OUT/empty" ] || fail 'something was compiled'
