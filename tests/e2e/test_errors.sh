# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Wrong input gets one clear line that says what to do, and the right exit status; nothing is attached.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need jq setpriv
net_up
here=$OUT/work
mkdir "$here"
cd "$here"

# wrong STATUS PATTERN ARGUMENTS…
wrong() {
	status=$1 pattern=$2
	shift 2
	assert_exit "$status" run_in "$B" "$PERILUNE" "$@"
	assert_match "^perilune: .*$pattern" "$(head -n 1 "$OUT/stderr")" "$*"
}

# policy NAME: from standard input.
policy() { cat >"$here/$1.lua"; }

flows='flows "to" { key = "dst" }'
wrong 2 'no interface ethx.*interfaces: ' run "$EXAMPLES/packet_counter.lua" --set iface=ethx
wrong 2 'did you mean "iface"' run "$EXAMPLES/packet_counter.lua" --set ifac=vb
wrong 2 'did you mean "run"' runn
wrong 2 'did you mean "json"' run "$EXAMPLES/packet_counter.lua" --jsn
wrong 2 'build needs a policy and where to write it' build
wrong 2 'absent.lua: No such file' run absent.lua
wrong 2 'a directory, not a policy' run "$here"
wrong 2 'like --for 10s' run "$EXAMPLES/packet_counter.lua" --set iface=vb --for soon

wrong 2 '-e needs a line' -e
wrong 2 'flowz: neither a policy.s file nor a template .did you mean "flows"' top flowz
wrong 2 'no directory .*/absent' build "$EXAMPLES/packet_counter.lua" -o "$here/absent/x.bundle"
assert_eq '' "$(find "$here" -name absent)" 'a directory that nobody asked for'
wrong 2 'longer than a hundred years' replay "$EXAMPLES/packet_counter.lua" "$PCAPS/http_get.pcap" --until 9999999999999d
: >empty.log
assert_exit 0 "$PERILUNE" explain empty.log
assert_match 'empty.log: holds nothing' "$(cat "$OUT/stderr")" 'an audit log without a line'
assert_exit 0 "$PERILUNE" help explain
assert_match '^usage: perilune explain ' "$(cat "$OUT/stdout")" 'help of a command'
wrong 1 '-e:1: unknown name "flowz" .did you mean "flows"' -e 'flowz { key = "src" }'

cat >daemon.lua <<END
return daemon { policies = { policy "edge" { file = "edge.lua" } } }
END
wrong 2 'daemon.lua: policy "edge": there is no file .*edge.lua' check daemon.lua
wrong 2 'XDP_SKBB: there is none such .did you mean "XDP_SKB"' inject m vb daemon.lua --mode XDP_SKBB

policy key <<END
return policy "x" {
  always = { flows "to" { key = "dst", featurs = { "tcp_flags" } } },
}
END
wrong 2 'key.lua:2: .*did you mean "features"' check key.lua
policy feature <<END
return policy "x" { always = { flows "to" {
  features = { "tcp_flag" } } } }
END
wrong 2 'feature.lua:[12]: .*did you mean "tcp_flags"' check feature.lua
policy syntax <<END
return policy "x" {
  always = { $flows
}
END
wrong 2 'syntax.lua:[34]: ' check syntax.lua
policy own <<END
return policy "p" { always = {
  source "own" { code = [[
int NAME(x;
]] } } }
END
wrong 2 'own.lua:3: ' check own.lua

# Captures: a directory, a text, one cut short (what was read is reported, then the error).
wrong 2 'directory' replay --template flows "$here"
wrong 2 'key.lua' replay --template flows key.lua
head -c 1000 "$PCAPS/http_get.pcap" >cut.pcap
assert_exit 1 "$PERILUNE" replay --template flows cut.pcap --json
assert_match 'cut.pcap.*cut short after frame 5' "$(cat "$OUT/stderr")" 'a capture cut short'
assert_eq 5 "$(json "$OUT/stdout" 'select(.event == "summary") | .packets')" 'packets before the cut'

# No privileges: nothing can be attached, but everything except the verifier can be checked.
cp "$EXAMPLES/packet_counter.lua" "$here/counter.lua"
chmod 755 "$here"
assert_exit 3 nobody run "$here/counter.lua" --set iface=lo
assert_match 'CAP_BPF' "$(cat "$OUT/stderr")" 'what it needs'
assert_exit 0 nobody check "$here/counter.lua" --set iface=lo
assert_match 'not verified' "$(cat "$OUT/stdout")" 'what was left out'

# No clang, and nothing cached.
PERILUNE_CACHE=$here/cache PERILUNE_CLANG=/nonexistent/clang assert_exit 1 "$PERILUNE" check "$EXAMPLES/packet_counter.lua" --set iface=lo
assert_match '^perilune: .*clang' "$(cat "$OUT/stderr")" 'clang is missing'

# What clang and what the verifier refuse is named by the template's own line.
mkdir -p mine/templates/broken
cat >mine/templates/broken/manifest.lua <<'END'
return { name = "broken", help = "refused", fields = { { name = "packets", unit = "packets", help = "" } }, features = {},
  knobs = {}, hooks = { "xdp", "tc.ingress", "tc.egress" },
  windows = { { map = "rows", kind = "array", entries = 1, role = "rows" } } }
END
template() {
	{
		echo 'struct NAME(value) { __u64 packets; };'
		echo 'WINDOWED_ARRAY(NAME(rows), struct NAME(value), 1);'
		echo 'static __always_inline void NAME(on_packet)(struct packet *p)'
		echo "{ struct NAME(value) *v = half__value(&NAME(rows), p->half, 1, 0);"
		echo "$1"
		echo '}'
	} >mine/templates/broken/template.bpf.h
}
policy deep <<'END'
return policy "deep" { attach = { iface = "vb" }, levels = { level "calm" {}, level "siege" { broken {} } },
  always = { counter "all" {} },
  rules = { rule "r" { when = rate("all.packets"):above "1/s", clear = rate("all.packets"):below "1/s", hold = "siege" } } }
END
export PERILUNE_PATH="$here/mine"
template 'if (v) v->packets += nonsense;'
wrong 2 'broken/template.bpf.h:5: .*nonsense' run deep.lua
template 'v->packets += 1;'
wrong 2 'template.bpf.h:5: the verifier refused in tc_level_siege_plain: .*map_value_or_null' run deep.lua
assert_match 'R[0-9]' "$(sed -n '2,$p' "$OUT/stderr")" "the end of the verifier's log"
unset PERILUNE_PATH
assert_clean "$B" vb

# A function of the policy that fails: reported once, with its traceback, and the run goes on.
policy raises <<'END'
return policy "raises" { attach = { iface = "vb" }, window = "20ms", always = { counter "all" {} },
  rules = { rule "r" { when = function(w)
    return w.nothing.there end, act = { log } } } }
END
start "$B" "$OUT/raises" run raises.lua --json
start_event "$OUT/raises" "$PID" 2
wait_for "[ \$(events '$OUT/raises' window) -ge 10 ]" 20 'windows after the error'
stop "$PID"
assert_eq 1 "$(events "$OUT/raises" error)" 'errors reported'
assert_match 'raises.lua:3:.*no nothing.*traceback' "$(json "$OUT/raises" 'select(.event == "error") | .message' | tr '\n' ' ')" 'the error'
/usr/bin/python3 "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/raises"
# Started with its standard streams closed: no file of perilune's own takes their place.
code=0
"$PERILUNE" templates flows <&- >&- 2>&- || code=$?
assert_eq 0 "$code" 'with standard input, output and error closed'
say 'every mistake was named'
