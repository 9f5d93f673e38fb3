# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# A template of one's own whose fields say how the values of several CPUs become one, a probe that says otherwise, and one
# that keeps them apart: packets of different sizes from each CPU, and what the folds give is worked out from the last.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need ping taskset jq
net_up

own=$OUT/own/templates/sizes
mkdir -p "$own"
cat >"$own/manifest.lua" <<'X1'
return {
  name = "sizes", help = "packets and their sizes, by direction",
  fields = {
    { name = "direction", unit = "name", help = "which way" },
    { name = "packets", unit = "packets", help = "segments on the wire" },
    { name = "least", unit = "bytes", help = "octets of the smallest", fold = "min" },
    { name = "most", unit = "bytes", help = "octets of the largest", fold = "max" },
  },
  features = {}, knobs = {}, hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = { { map = "rows", kind = "array", entries = 2, role = "rows", index = "direction" } },
}
X1
cat >"$own/template.bpf.h" <<'X1'
struct NAME(value) {
	__u64 packets;
	__u64 least;
	__u64 most;
};

WINDOWED_ARRAY(NAME(rows), struct NAME(value), 2);

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(value) *value = half__value(&NAME(rows), p->half, 2, p->direction);
	__u64 octets = packet__bytes(p);

	if (!value)
		return;
	count__own(value->packets, p->segments);
	if (!value->least || octets < value->least)
		value->least = octets;
	if (octets > value->most)
		value->most = octets;
}
X1
cat >"$OUT/folds.lua" <<'X1'
return policy "folds" {
  attach = { iface = option "iface" { type = "iface" }, hook = "tc.ingress" },
  window = "1h",
  always = {
    sizes "declared" {}, sizes "apart" { fold = "none" }, sizes "otherwise" { fold = { least = "max", packets = "max" } },
  },
  rules = {
    rule "by-hand" {
      when = function(w)
        local all = 0
        for _, row in w.apart:rows() do
          for cpu = 1, #row.packets do all = all + row.packets[cpu] end
        end
        return all == w:sum "declared.packets"
      end,
      act = { log "the same" },
    },
  },
}
X1
export PERILUNE_PATH="$OUT/own"

start "$B" "$OUT/run" run "$OUT/folds.lua" --set iface=vb --json
start_event "$OUT/run" "$PID"
cpus=$(taskset -cp $$ | sed 's/.*: //' | tr ',' '\n' | awk -F- '{ for (c = $1; c <= $NF; c++) print c }')
sent=0 size=60
for cpu in $cpus; do
	taskset -c "$cpu" ip netns exec "$A" ping -q -c 20 -i 0.002 -s $size "$B4" >"$OUT/ping"
	taskset -c "$cpu" ip netns exec "$A" ping -q -c 10 -i 0.002 -s $((size + 500)) "$B4" >"$OUT/ping"
	sent=$((sent + 30)) size=$((size + 100))
done
stop "$PID"

row() { json "$OUT/run" "select(.event == \"records\" and .probe == \"$1\") | .rows[] | select(.direction == \"ingress\") | $2"; }
assert_eq $sent "$(row declared .packets)" 'packets, added up'
assert_eq 88 "$(row declared .least)" 'the smallest of all CPUs'
assert_eq $((size - 100 + 500 + 28)) "$(row declared .most)" 'the largest of all CPUs'
assert_eq $sent "$(row apart '[.values[].packets] | add')" 'packets of all CPUs, kept apart'
assert_eq "$(getconf _NPROCESSORS_CONF)" "$(row apart '.values | length')" 'values kept apart'
assert_eq "$(row apart '[.values[] | select(.packets > 0) | .least] | min')" "$(row declared .least)" 'least, by hand'
assert_eq "$(row apart '[.values[].most] | max')" "$(row declared .most)" 'most, by hand'
assert_eq "$(row apart '[.values[].least] | max')" "$(row otherwise .least)" 'least, folded as the probe says'
assert_eq "$(row apart '[.values[].packets] | max')" "$(row otherwise .packets)" 'packets, folded as the probe says'
assert_clean "$B" vb

say '--- a function that folds them itself'
assert_exit 0 "$PERILUNE" replay "$OUT/folds.lua" "$PCAPS/http_get.pcap" --json
assert_eq by-hand "$(json "$OUT/stdout" 'select(.event == "rule" and .state == "firing") | .rule')" 'the rule that holds'

say '--- mistakes, in the policy and in the manifest'
mistake() { # SUBSTITUTION PATTERN
	sed "$1" "$OUT/folds.lua" >"$OUT/wrong.lua"
	assert_exit 2 "$PERILUNE" check "$OUT/wrong.lua" --set iface=lo
	assert_match "wrong.lua:[0-9]+: $2" "$(cat "$OUT/stderr")" "$1"
}
mistake 's/least = "max"/leats = "max"/' 'sizes "otherwise": there is no field leats to fold \(did you mean "least"\?\)'
mistake 's/least = "max"/least = "median"/' 'sizes "otherwise": least cannot be folded as median \(one of sum, min, max, last\)'
mistake 's/least = "max"/direction = "max"/' 'sizes "otherwise": direction cannot be folded as max \(only last\)'
mistake 's/"none"/"nothing"/' 'sizes "apart": unknown fold "nothing" \(one of "sum", "min", "max", "last", "none"\)'
mistake 's/"none"/7/' 'sizes "apart": fold takes a word or fields with words'
mistake 's/when = function(w)/when = rate "apart.packets":above "1\/s", act = { log "x" } }, rule "z" { when = function(w)/' \
	'apart.packets has a value for every CPU, not one'
sed -i 's/fold = "min"/fold = "least"/' "$own/manifest.lua"
assert_exit 2 "$PERILUNE" check "$OUT/folds.lua" --set iface=lo
assert_match 'manifest.lua: least: unknown fold least \(' "$(cat "$OUT/stderr")" 'a fold of a manifest'
