# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# The audit log of live runs: it says what the run says, follows when it is evaluated again, and is for one process at a time.
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need jq ping
net_up
cat >"$OUT/pings.lua" <<'END'
return policy "pings" { attach = { iface = "vb", hook = "tc.ingress" }, window = "50ms", always = { counter "all" {} },
  levels = { level "calm" {}, level "busy" { flows "from" { key = "src" } } },
  sets = { set "senders" { of = "src", max = 10, ttl = "1s" } },
  rules = {
    rule "many" { when = rate("all.packets"):above "60/s", clear = rate("all.packets"):below("60/s"):lasting "200ms", hold = "busy" },
    rule "who" { per = "from.src", when = rate("from.packets"):above("5/s"):lasting "100ms",
      clear = rate("from.packets"):below("5/s"):lasting "100ms", act = { add "senders" } },
  } }
END
start "$B" "$OUT/run" run "$OUT/pings.lua" --json --audit "$OUT/pings.audit"
start_event "$OUT/run" "$PID"
assert_exit 3 run_in "$B" "$PERILUNE" run "$OUT/pings.lua" --audit "$OUT/pings.audit" --for 1s
assert_match 'being written by another process' "$(cat "$OUT/stderr")" 'a log that somebody writes'
for _ in 1 2; do
	run_in "$A" ping -q -c 60 -i 0.01 -W 1 "$B4" >/dev/null 2>&1 || :
	wait_for "[ \$(grep -c '\"event\":\"transition\".*\"to\":\"busy\"' '$OUT/run') -gt 0 ]" 20 'the deeper level'
	wait_for "tail -n 400 '$OUT/run' | grep '\"event\":\"transition\"' | tail -n 1 | grep -q '\"to\":\"calm\"'" 20 'the base level again'
done
stop "$PID"
/usr/bin/python3 "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/pings.audit"
assert_eq 600 "$(stat -c %a "$OUT/pings.audit")" 'the mode of the log'
for event in transition rule; do
	json "$OUT/run" "select(.event == \"$event\") | @json" >"$OUT/said"
	json "$OUT/pings.audit" "select(.event == \"$event\") | @json" >"$OUT/logged"
	cmp "$OUT/said" "$OUT/logged" || fail "the log has other events: $event"
	[ -s "$OUT/said" ] || fail "nothing happened: $event"
done
assert_exit 0 "$PERILUNE" explain --verify "$OUT/pings.audit"
say "$(cat "$OUT/stdout")"
assert_exit 0 "$PERILUNE" explain "$OUT/pings.audit"
assert_match 'because many: rate all.packets' "$(cat "$OUT/stdout")" 'the story'
say 'what happened live follows from its log'
