# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# A process that is stopped at a level that a trigger has raised: when the lease is over, packets take the cheap path again, though nobody
# says so; they are counted all the same. When it goes on, so does the level.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need ping jq
net_up
cat >"$OUT/lease.lua" <<'X1'
return policy "lease" {
  attach = { iface = "vb", hook = "tc.ingress" }, window = "200ms",
  always = { counter "totals" {} },
  levels = { level "calm" {}, level "deep" { flows "to" { key = "dst" }, window = "100ms", lease = "1s" } },
  rules = { rule "busy" { trigger = "50ms", when = rate("totals.packets"):above "100/s",
                          clear = rate("totals.packets"):above "1M/s", hold = "deep" } },
}
X1

# The first twenty at once, so that there are enough in a slice however slowly the others come.
send() { run_in "$A" ping -q -c "$1" -l 20 -i 0.002 "$B4" >"$OUT/ping" || fail "ping: $(cat "$OUT/ping")"; }
# All that was counted so far; and what of it is in rows of `to`.
counted() { json "$OUT/run" 'select(.event == "window") | .packets' | awk '{ n += $1 } END { print n + 0 }'; }
deep() { json "$OUT/run" 'select(.event == "records" and .probe == "to") | .rows[] | .packets' | awk '{ n += $1 } END { print n + 0 }'; }

start "$B" "$OUT/run" run "$OUT/lease.lua" --json
start_event "$OUT/run" "$PID"
send 100
wait_for "[ \"\$(counted)\" = 100 ]" 10 'the first packets'
tripped=$(deep)
assert_eq "trigger" "$(json "$OUT/run" 'select(.event == "rule") | .why')" 'why the rule fired'
[ "$tripped" -ge 60 ] || fail "only $tripped of 100 packets were at the raised level"

kill -STOP "$PID"
sleep 3 # three times the lease
send 70
kill -CONT "$PID"
wait_for "[ \"\$(counted)\" = 170 ]" 10 'the packets that came meanwhile'
assert_eq "$tripped" "$(deep)" 'rows of a level whose lease was over'

before=$(events "$OUT/run" window)
wait_for "[ \"\$(events '$OUT/run' window)\" -gt $((before + 1)) ]" 10 'windows after it went on'
send 40
wait_for "[ \"\$(counted)\" = 210 ]" 10 'the packets after it went on'
assert_eq $((tripped + 40)) "$(deep)" 'rows after it went on'
assert_eq 1 "$(events "$OUT/run" transition)" 'changes of level'
stop "$PID"
assert_clean "$B" vb
say "stopped at the raised level: $tripped packets deep, 70 at the cheap path, 40 deep again"
