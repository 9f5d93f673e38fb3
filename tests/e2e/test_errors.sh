# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Everything that can be wrong gets one clear line and its exit code: 2 the command or the policy, 3 not permitted or taken,
# 1 the work failed. Nothing stays attached.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
. "$PERILUNE_SOURCE/tests/e2e/exact.sh"
need setpriv
net_up
flood=$EXAMPLES/syn_flood.lua counter=$EXAMPLES/packet_counter.lua
cache=$OUT/cache

in_b() { run_in "$B" "$@"; }

# wrong CODE PATTERN COMMAND…: standard error is one line that matches, standard output is empty.
wrong() {
	code=$1 pattern=$2
	shift 2
	assert_exit "$code" "$@"
	assert_match "$pattern" "$(cat "$OUT/stderr")" "$*"
	assert_eq 1 "$(wc -l <"$OUT/stderr" | tr -d ' ')" "lines of the error of: $*: $(cat "$OUT/stderr")"
	assert_match '^perilune: ' "$(head -n 1 "$OUT/stderr")" "$*"
	[ ! -s "$OUT/stdout" ] || fail "$*: also printed $(cat "$OUT/stdout")"
	say "$code $(cut -c 1-160 "$OUT/stderr")"
}

# policy NAME TEXT: a policy file of one probe in levels.
policy() { printf '%s\n' "$2" >"$OUT/$1"; }

# ---------------------------------------------------------------------------------------------- the command line

wrong 2 'there is no command rnu.*run' "$PERILUNE" rnu
wrong 2 'jsno.*--json' "$PERILUNE" run "$flood" --jsno
wrong 2 'a policy' "$PERILUNE" run
wrong 2 -- '--for.*soon' "$PERILUNE" run "$flood" --for soon
wrong 2 -- '--for' "$PERILUNE" run "$flood" --for 0s
wrong 2 -- '--for' "$PERILUNE" run "$flood" --for
wrong 2 'surge' "$PERILUNE" run "$flood" --set sruge=5k/s
wrong 2 'surge' "$PERILUNE" run "$flood" --set surge=fast
wrong 2 'hook.*xdp, tc.ingress' "$PERILUNE" run "$flood" --set hook=xpd
wrong 2 -- '--set' "$PERILUNE" run "$flood" --set surge
wrong 2 'vb' in_b "$PERILUNE" run "$flood" --set iface=vbb
wrong 2 'no default route|default' in_b "$PERILUNE" run "$flood"

# ---------------------------------------------------------------------------------------------- files

wrong 2 "$OUT: a directory" "$PERILUNE" run "$OUT"
wrong 2 'absent.lua.*No such file' "$PERILUNE" check "$OUT/absent.lua"
policy syntax.lua 'local x =
return policy "p" {'
wrong 2 'syntax.lua:[123]: ' "$PERILUNE" check "$OUT/syntax.lua"
policy key.lua 'local a = 1
return policy "p" { windwo = "1s", always = { counter {} } }'
wrong 2 'key.lua:2: .*windwo.*window' "$PERILUNE" check "$OUT/key.lua"
policy feature.lua 'return policy "p" {
  always = { flows { key = "src", features = { "tcp_flag" } } },
}'
wrong 2 'feature.lua:2: .*tcp_flag.*tcp_flags' "$PERILUNE" check "$OUT/feature.lua"
policy word.lua '
return polciy "p" {}'
wrong 2 'word.lua:2: .*polciy.*policy' "$PERILUNE" check "$OUT/word.lua"
policy raised.lua '
error "not today"'
wrong 2 'raised.lua:2: .*not today' "$PERILUNE" check "$OUT/raised.lua"
wrong 2 'flow.*flows' "$PERILUNE" replay --template flow "$PCAPS/tcp_syn.pcap"
wrong 2 'tcp_flag.*tcp_flags' "$PERILUNE" replay --template flows --features tcp_flag "$PCAPS/tcp_syn.pcap"
wrong 2 'ky.*key' "$PERILUNE" replay --template flows --set ky=src "$PCAPS/tcp_syn.pcap"
wrong '[12]' 'a directory' "$PERILUNE" replay --template flows "$OUT"
wrong '[12]' 'No such file' "$PERILUNE" replay --template flows "$OUT/absent.pcap"
wrong '[12]' 'key.lua.*not a capture|key.lua.*capture|key.lua.*pcap' "$PERILUNE" replay --template flows "$OUT/key.lua"

# A capture cut short: what was there is reported, then the error.
head -c 100000 "$PCAPS/lucid_CIC-DDoS-2019-SynFlood.pcap" >"$OUT/cut.pcap"
assert_exit 1 "$PERILUNE" replay --template flows "$OUT/cut.pcap" --json
assert_match '^perilune: .*cut.pcap' "$(cat "$OUT/stderr")" 'a capture cut short'
say "1 $(cat "$OUT/stderr")"
cp "$OUT/stdout" "$OUT/cut"
judge "$OUT/cut"
frames=$(tcpdump -r "$OUT/cut.pcap" -n 2>/dev/null | wc -l | tr -d ' ')
assert_eq "$frames" "$(json "$OUT/cut" 'select(.event == "summary") | .packets')" 'packets before the cut'

# ---------------------------------------------------------------------------------------------- privileges

nobody() { setpriv --reuid nobody --regid nogroup --clear-groups --bounding-set -all "$@"; }

mkdir "$cache"
chmod 755 "$OUT"
chown nobody "$cache"
# The build may be where nobody but root can look.
if nobody test -x "$PERILUNE"; then
	wrong 3 'not permitted.*root' run_in "$B" setpriv --reuid nobody --regid nogroup --clear-groups env PERILUNE_CACHE="$cache" \
		"$PERILUNE" run "$counter" --set iface=vb
	assert_exit 0 nobody env PERILUNE_CACHE="$cache" "$PERILUNE" check "$flood"
	assert_match 'not verified \(needs root' "$(cat "$OUT/stdout")" 'check without privileges'
	say "0 $(cat "$OUT/stdout")"
	policy c.lua 'return policy "p" { always = { flows { key = "sorc" } } }'
	wrong 2 'c.lua:1: .*sorc.*src' nobody "$PERILUNE" check "$OUT/c.lua"
else
	say "skipped: $PERILUNE is not for nobody"
fi
assert_clean "$B" vb

# ---------------------------------------------------------------------------------------------- the compiler

fresh() { rm -rf "$OUT/cold" && mkdir "$OUT/cold"; }

fresh
wrong 3 '/nonexistent.*(unset|name a clang)' in_b env PERILUNE_CACHE="$OUT/cold" PERILUNE_CLANG=/nonexistent "$PERILUNE" run "$counter" --set iface=vb
wrong 3 'no clang.*install' in_b env PERILUNE_CACHE="$OUT/cold" PATH="$OUT" "$PERILUNE" run "$counter" --set iface=vb
printf '#!/bin/sh\nkill -SEGV $$\n' >"$OUT/clang-crash"
chmod +x "$OUT/clang-crash"
assert_exit 1 run_in "$B" env PERILUNE_CACHE="$OUT/cold" PERILUNE_CLANG="$OUT/clang-crash" "$PERILUNE" run "$counter" --set iface=vb
say "1 $(head -n 1 "$OUT/stderr")"

# overlay TEMPLATE: a copy of a template, found before perilune's own.
overlay() {
	rm -rf "$OUT/over"
	mkdir -p "$OUT/over/templates"
	cp -r "$PERILUNE_SOURCE/templates/$1" "$OUT/over/templates/$1"
	body=$OUT/over/templates/$1/template.bpf.h
}

# A mistake in C: clang's words, at the template's own line.
overlay counter
sed -i 's/^\tcount__own(value->skbs, 1);/\tcount__own(value->skps, 1);/' "$body"
line=$(grep -n 'value->skps' "$body" | cut -d : -f 1)
assert_exit 2 run_in "$B" env PERILUNE_PATH="$OUT/over" "$PERILUNE" run "$counter" --set iface=vb
assert_match "^perilune: .*over/templates/counter/template.bpf.h:$line:.*skps" "$(head -n 1 "$OUT/stderr")" 'a C error in a template'
say "2 $(head -n 1 "$OUT/stderr")"
assert_clean "$B" vb

# Good C that the verifier refuses, in the deepest level only: its place, its function, the end of the log.
overlay flows
sed -i 's/^\tvalue = half__row(.*/&\n\tif (p->skb_unknown) *(volatile __u64 *)((char *)value + 4096) = 1;/' "$body"
sed -i 's/if (p->skb_unknown) //' "$body"
line=$(grep -n '4096' "$body" | cut -d : -f 1)
assert_exit 2 run_in "$B" env PERILUNE_PATH="$OUT/over" "$PERILUNE" run "$flood" --set iface=vb --json
assert_match "^perilune: .*over/templates/flows/template.bpf.h:$line: the verifier refused in tc_level_(alert|siege): " "$(head -n 1 "$OUT/stderr")" 'a level that fails verification'
[ "$(wc -l <"$OUT/stderr")" -gt 3 ] || fail "no log of the verifier: $(cat "$OUT/stderr")"
assert_eq 0 "$(events "$OUT/stdout" attach)" 'attach events of a policy that is refused'
say "2 $(head -n 3 "$OUT/stderr" | cut -c 1-200)"
assert_clean "$B" vb

# ---------------------------------------------------------------------------------------------- taken hooks

printf 'int pass(void *ctx) { return 2; }\nchar LICENSE[] __attribute__((section("license"))) = "GPL";\n' >"$OUT/other.c"
clang=$(command -v clang-19 || command -v clang)
"$clang" -O2 -target bpf -c "$OUT/other.c" -o "$OUT/other.o"
ip -n "$B" link set vb xdpdrv obj "$OUT/other.o" sec .text 2>"$OUT/iplog" || fail "no XDP program: $(cat "$OUT/iplog")"
id=$(ip -n "$B" -d -j link show vb | jq '.[0].xdp.prog.id')
wrong 3 "vb: .*(taken|already|other).*$id" in_b "$PERILUNE" run "$counter" --set iface=vb --set hook=xdp
assert_eq "$id" "$(ip -n "$B" -d -j link show vb | jq '.[0].xdp.prog.id')" "the other's XDP program"
ip -n "$B" link set vb xdpdrv off
assert_clean "$B" vb

# ---------------------------------------------------------------------------------------------- in a window

start "$B" "$OUT/raises" run "$POLICIES/raises.lua" --set iface=vb --json
start_event "$OUT/raises" "$PID" 2
wait_for "[ \$(events '$OUT/raises' window) -ge 20 ]" 20 'windows after the error'
stop "$PID"
judge "$OUT/raises"
assert_eq 1 "$(json "$OUT/raises" 'select(.event == "error" and .rule == "broken") | .rule' | wc -l | tr -d ' ')" 'reports of the broken rule'
message=$(json "$OUT/raises" 'select(.event == "error" and .rule == "broken") | .message')
assert_match 'raises.lua:7' "$message" 'the place of the error'
assert_match 'traceback' "$message" 'its traceback'
assert_eq 1 "$(json "$OUT/raises" 'select(.event == "error" and .rule == "sound") | .rule' | wc -l | tr -d ' ')" 'reports of the act that raises'
[ "$(json "$OUT/raises" 'select(.event == "rule" and .rule == "sound") | .state' | wc -l)" -ge 4 ] || fail 'the other rule did not go on'
say 'an error in a window: reported once, and the run goes on'
assert_clean "$B" vb
