#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# ctest: once
#
# `cmake --install` gives a perilune that is whole: it works from any directory, without its source and build trees, also when the
# prefix is moved, and takes templates and Lua modules of PERILUNE_PATH before its own.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "$0")/lib.sh"

PYTHON=/usr/bin/python3 # the one that has jsonschema
need cmake jq "$PYTHON" setpriv tshark unshare
PREFIX=$OUT/prefix
export PERILUNE_CACHE="$OUT/cache"
cp "$PCAPS/http_get.pcap" "$OUT/"

cmake --install "$PERILUNE_BUILD" --prefix "$PREFIX" >"$OUT/install" 2>&1 || {
	cat "$OUT/install" >&2
	fail 'cmake --install'
}
SHARE=$PREFIX/share/perilune
for file in bin/perilune share/perilune/lua/perilune/main.lua share/perilune/bpf/perilune.h \
	share/perilune/templates/flows/template.bpf.h share/perilune/templates/counter/manifest.lua \
	share/perilune/examples/syn_flood.lua share/perilune/examples/packet_counter.lua; do
	[ -f "$PREFIX/$file" ] || fail "$file is not installed"
done
assert_eq '' "$(find "$PREFIX" -name '*.sh')" 'scripts of the source tree that are installed'
assert_eq '' "$(find "$PREFIX" -type f ! -perm -444)" 'installed files that not everyone can read'

# hidden COMMAND…: in /, where the source and the build tree are empty.
hidden() {
	# shellcheck disable=SC2016 # for the inner shell
	unshare --mount sh -euc 'mount -t tmpfs none "$1"; [ ! -d "$2" ] || mount -t tmpfs none "$2"
		cd /; shift 2; exec "$@"' sh "$PERILUNE_SOURCE" "$PERILUNE_BUILD" "$@"
}

installed() { hidden env -u PERILUNE_PATH "$PREFIX/bin/perilune" "$@"; }

# commands WHAT: everything that does not need an interface.
commands() {
	assert_exit 0 installed --version
	assert_match '^perilune [0-9]+\.[0-9]+\.[0-9]+$' "$(cat "$OUT/stdout")" "--version, $1"
	assert_exit 0 installed templates flows
	assert_match "^found in $SHARE/templates\$" "$(cat "$OUT/stdout")" "where flows is, $1"
	assert_exit 0 installed examples
	assert_eq "$SHARE/examples/syn_flood.lua" "$(grep '/syn_flood.lua$' "$OUT/stdout" | head -n 1)" "the example's place, $1"
	assert_exit 0 installed check "$SHARE/examples/syn_flood.lua" "$SHARE/examples/packet_counter.lua"
	assert_eq 2 "$(grep -c ', verified$' "$OUT/stdout")" "policies verified, $1"
	assert_exit 0 installed check --source "$SHARE/examples/syn_flood.lua"
	assert_eq '' "$(grep -F '#include' "$OUT/stdout" | grep -vF "\"$SHARE/" | grep -vF '<perilune.h>' || :)" "what is included, $1"
	assert_exit 0 installed replay --template flows --set key=5tuple "$OUT/http_get.pcap" --json
	cp "$OUT/stdout" "$OUT/replay"
	"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/replay" || fail "the events of replay, $1"
	assert_eq 14 "$(json "$OUT/replay" 'select(.event == "summary") | .packets')" "packets replayed, $1"
}

say '--- installed'
commands installed

say '--- a policy on an interface, from another directory'
net_up
cp "$SHARE/examples/packet_counter.lua" "$OUT/mine.lua"
ip netns exec "$B" sh -c 'cd / && exec "$@"' sh "$PREFIX/bin/perilune" run "$OUT/mine.lua" --set iface=vb --set hook=tc.ingress \
	--json >"$OUT/run" 2>"$OUT/run.err" </dev/null &
PID=$!
PIDS="$PIDS $PID"
start_event "$OUT/run" "$PID"
run_in "$A" ping -q -c 7 -i 0.01 "$B4" >/dev/null
stop "$PID"
assert_eq 7 "$(json "$OUT/run" 'select(.event == "summary") | .packets')" 'pings counted'
"$PYTHON" "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/run" || fail 'the events of run'
assert_clean "$B" vb

say '--- moved'
cp "$OUT/replay" "$OUT/replay.first"
mkdir -p "$OUT/another place"
mv "$PREFIX" "$OUT/another place/prefix"
PREFIX="$OUT/another place/prefix"
SHARE=$PREFIX/share/perilune
commands moved
cmp "$OUT/replay.first" "$OUT/replay" || fail 'the same replay prints something else where it was moved to'

say '--- a link to it'
mkdir "$OUT/links"
ln -s "$PREFIX/bin/perilune" "$OUT/links/perilune"
assert_exit 0 "$OUT/links/perilune" templates flows
assert_match "^found in $SHARE/templates\$" "$(cat "$OUT/stdout")" 'where flows is, through a link'

say '--- a part is missing'
mv "$SHARE/lua" "$SHARE/lua.gone"
assert_exit 2 installed templates
assert_match 'cannot find its Lua files in .*another place' "$(cat "$OUT/stderr")" 'what it says without its Lua files'
mv "$SHARE/lua.gone" "$SHARE/lua"

# ---------------------------------------------------------------------------------------------- one's own, before perilune's

say '--- PERILUNE_PATH: a template of one'\''s own'
OWN=$OUT/own
mkdir -p "$OWN/templates/sizes" "$OWN/templates/counter" "$OWN/lua/perilune"
cat >"$OWN/templates/sizes/manifest.lua" <<'X'
return {
  name = "sizes", help = "how many packets are small, how many large",
  fields = {
    { name = "packets", unit = "packets", help = "all" },
    { name = "small", unit = "packets", help = "below 128 octets of IP" },
  },
  features = {}, knobs = {}, hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = { { map = "rows", kind = "array", entries = 2, role = "rows", index = "direction" } },
}
X
cat >"$OWN/templates/sizes/template.bpf.h" <<'X'
struct NAME(value) {
	__u64 packets;
	__u64 small;
};

WINDOWED_ARRAY(NAME(rows), struct NAME(value), 2);

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(value) *value = half__value(&NAME(rows), p->half, 2, p->direction);

	if (!value)
		return;
	count__own(value->packets, p->segments);
	if (packet__bytes(p) < 128)
		count__own(value->small, p->segments);
}
X
own() { hidden env PERILUNE_PATH="/nonexistent:$OWN" "$PREFIX/bin/perilune" "$@"; }
assert_exit 0 own templates
assert_match '^sizes +how many packets' "$(cat "$OUT/stdout")" 'the templates, with one more'
assert_match '^flows ' "$(cat "$OUT/stdout")" 'the templates, with those that came'
assert_exit 0 own replay --template sizes "$OUT/http_get.pcap" --json
small=$(json "$OUT/stdout" 'select(.event == "records") | .rows[] | select(.direction == "ingress") | .small' | awk '{ n += $1 } END { print n }')
expected=$(tshark -r "$PCAPS/http_get.pcap" -Y 'ip.len < 128' 2>/dev/null | wc -l)
assert_eq "$expected" "$small" 'small packets, by a template of one'\''s own and by tshark'
assert_exit 2 installed replay --template sizes "$OUT/http_get.pcap"
assert_match 'there is no template sizes' "$(cat "$OUT/stderr")" 'without PERILUNE_PATH'

say '--- PERILUNE_PATH: instead of a template of perilune'\''s'
cp "$SHARE/templates/counter/template.bpf.h" "$OWN/templates/counter/"
sed 's/help = "packets and bytes that cross the hook, each way"/help = "my own counter"/' \
	"$SHARE/templates/counter/manifest.lua" >"$OWN/templates/counter/manifest.lua"
assert_exit 0 own templates counter
assert_match '^counter: my own counter$' "$(cat "$OUT/stdout")" 'which counter'
assert_match "^found in $OWN/templates\$" "$(cat "$OUT/stdout")" 'where it is'
assert_exit 0 own check --source "$SHARE/examples/packet_counter.lua"
assert_match "#include \"$OWN/templates/counter/template.bpf.h\"" "$(cat "$OUT/stdout")" 'what is compiled'
assert_exit 0 own check "$SHARE/examples/packet_counter.lua"

say '--- PERILUNE_PATH: a mistake in it is told with its file and line'
sed 's/count__own(value->small/count__own(value->smal/' "$OWN/templates/sizes/template.bpf.h" >"$OUT/broken"
mv "$OUT/broken" "$OWN/templates/sizes/template.bpf.h"
assert_exit 2 own replay --template sizes "$OUT/http_get.pcap"
assert_match 'templates/sizes/template\.bpf\.h:16:' "$(cat "$OUT/stderr")" 'where the mistake is'

say '--- PERILUNE_PATH: a Lua module'
sed 's/return examples$/examples.summary = "my own examples"\nreturn examples/' "$SHARE/lua/perilune/command/examples.lua" \
	>"$OUT/examples.lua"
mkdir "$OWN/lua/perilune/command"
mv "$OUT/examples.lua" "$OWN/lua/perilune/command/examples.lua"
assert_exit 0 own --help
assert_match 'my own examples' "$(cat "$OUT/stdout")" 'a module of one'\''s own'
assert_exit 0 installed --help
assert_eq '' "$(grep 'my own' "$OUT/stdout" || :)" 'that module without PERILUNE_PATH'

say '--- for someone without privileges, who owns nothing of it'
chmod 755 "$OUT"
mkdir -m 777 "$OUT/theirs"
assert_exit 0 setpriv --reuid 65534 --regid 65534 --clear-groups env PERILUNE_CACHE="$OUT/theirs/cache" \
	"$PREFIX/bin/perilune" check "$SHARE/examples/syn_flood.lua"
assert_match 'not verified \(needs root' "$(cat "$OUT/stdout")" 'check without privileges'
say 'installed, moved and overridden: as it should be'
