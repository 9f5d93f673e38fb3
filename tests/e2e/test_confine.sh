# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# Code of a policy that does not end, or takes all memory, is stopped and named: at load it is an error like any other, in a
# rule it costs that rule only. Other policies on the interface do not notice. What is asserted of time has wide bounds.
# ctest: serial
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"
need jq
net_up
here=$OUT/work
mkdir "$here"
cd "$here"

# policy NAME: from standard input.
policy() { cat >"$here/$1.lua"; }
children() { cat "/proc/$1/task/$1/children" 2>/dev/null || :; }

# ---------------------------------------------------------------------------------------------- while it is loaded

GOOD='return policy "x" { always = { counter "all" {} } }'
TIME='the policy did not finish loading within 1s \(is there a loop'
MEMORY='the policy needs more than 64 MB of memory to load \(is there a table'
# What grows bit by bit reaches one limit or the other first: on a busy machine it may be that of time, which is fixed at load.
GROWS="($MEMORY|$TIME)"

# load NAME LINES REASON: the text, on standard input, is refused with that reason, at one of these lines.
load() {
	{ cat && echo "$GOOD"; } >"$here/$1.lua"
	begun=$(now_ms)
	assert_exit 2 "$PERILUNE" check "$1.lua"
	took=$(($(now_ms) - begun))
	[ "$took" -lt 10000 ] || fail "$1: $took ms for a load that may take one second"
	assert_match "^perilune: $1.lua:($2): $3" "$(cat "$OUT/stderr")" "$1"
	assert_eq 1 "$(grep -c '^perilune:' "$OUT/stderr")" "$1: messages"
	say "$1: $(tail -n 1 "$OUT/stderr" | cut -c 11-) after $took ms"
}

load loop '2|3|4' "$TIME" <<'END'
local n = 0
for i = 1, 1e15 do
  n = n + i
end
END
load pcalls '1|2|3' "$TIME" <<'END'
local function go() for i = 1, 1e15 do end end
while true do
  pcall(go)
end
END
load errors '1|2|3' "$TIME" <<'END'
local function go() error "again" end
while true do
  pcall(go)
end
END
load xpcalls '1|2|3' "$TIME" <<'END'
local function go() while true do end end
while true do
  xpcall(go, function() return go() end)
end
END
load finds '2' "$TIME" <<'END'
local text = ("a"):rep(30000)
local from = text:find(("a-"):rep(8) .. "b")
END
load gsubs '2' "$TIME" <<'END'
local text = ("a"):rep(30000)
text = text:gsub(("a-"):rep(8) .. "b", "c")
END
load reps '2' "$MEMORY" <<'END'
local text = "x"
text = text:rep(1e9)
END
load repeated '2' "$TIME" <<'END'
local text
while true do text = ("x"):rep(1e6) end
END
load coroutines '1|2|3' "$TIME" <<'END'
local co = coroutine.wrap(function()
  while true do coroutine.yield(1) end end)
while true do co() end
END
load threads '2' "$TIME" <<'END'
local co = coroutine.create(function()
  while true do end
end)
coroutine.resume(co)
END
load tables '2|3|4' "$GROWS" <<'END'
local t = {}
while true do
  t[#t + 1] = { #t }
end
END
load caught '1|2|3|4' "$GROWS" <<'END'
local ok = pcall(function()
  local t = {}
  while true do t[#t + 1] = { #t } end
end)
END
load texts '2' "$GROWS" <<'END'
local text = "x"
while true do text = text .. text end
END
load sorts '3' "$TIME" <<'END'
local t = {}
for i = 1, 1e4 do t[i] = i end
table.sort(t, function() while true do end end)
END
load traces '1' 'deep$' <<'END'
local function deep(n) if n == 0 then error "deep" end
  return (deep(n - 1)) end
deep(3)
END
mkdir parts
echo 'while true do end' >"$here/parts/endless.lua"
echo 'local part = require "parts.endless"' >module.lua
assert_exit 2 "$PERILUNE" check module.lua
assert_match "^perilune: parts/endless.lua:1: $TIME|^perilune: ./parts/endless.lua:1: $TIME" "$(cat "$OUT/stderr")" 'a module'
assert_exit 2 "$PERILUNE" run loop.lua
assert_match "^perilune: loop.lua:[23]: $TIME" "$(cat "$OUT/stderr")" 'run'
assert_exit 2 "$PERILUNE" replay loop.lua "$PCAPS/http_get.pcap"
assert_match "^perilune: loop.lua:[23]: $TIME" "$(cat "$OUT/stderr")" 'replay'
assert_exit 2 "$PERILUNE" run loop.lua --help
assert_match 'loop.lua:[23]: ' "$(cat "$OUT/stderr")" 'the options of it'

# What it prints is printed once, though it is loaded twice.
printf 'print "loading"\n%s\n' "$GOOD" >prints.lua
assert_exit 0 "$PERILUNE" check prints.lua
assert_eq loading "$(cat "$OUT/stderr")" 'what a policy prints while it is loaded'

# --trusted: no limits and all of Lua, which is said.
printf 'local t = {} for i = 1, 4e6 do t[i] = { i } end\nassert(os.getenv "PATH" and io.open and require "ffi")\n%s\n' "$GOOD" >all.lua
assert_exit 2 "$PERILUNE" check all.lua
assert_exit 0 "$PERILUNE" check all.lua --trusted
assert_match '^perilune: all.lua: --trusted: ' "$(cat "$OUT/stderr")" 'that it is trusted'
assert_eq 1 "$(wc -l <"$OUT/stderr")" 'lines that say so'

# ---------------------------------------------------------------------------------------------- in rules

# Each of the functions is stopped and named; the rules of data and the functions that are well go on.
policy rules <<'END'
local from = flows "from" { key = "src" }
local function endless() for i = 1, 1e15 do end return true end
local function deep(n) if n == 0 then error "deep" end return (deep(n - 1)) end
local text = ("a"):rep(30000)
return policy "rules" { attach = { iface = "vb", hook = "tc.ingress" }, window = "100ms", always = { from }, rules = {
  rule "loops" { act = log, when = function() return endless() end },
  rule "pcalls" { act = log, when = function() while true do pcall(endless) end end },
  rule "xpcalls" { act = log, when = function() while true do xpcall(endless, endless) end end },
  rule "finds" { act = log, when = function() return text:find(("a-"):rep(8) .. "b") end },
  rule "gsubs" { act = log, when = function() return text:gsub(("a-"):rep(8) .. "b", "c") end },
  rule "reps" { act = log, when = function() while true do text = ("x"):rep(1e6) end end },
  rule "huge" { act = log, when = function() return text:rep(1e6) end },
  rule "threads" { act = log, when = function() coroutine.wrap(function() while true do end end)() end },
  rule "traces" { act = log, when = function() local x = deep(2) return x end },
  rule "acts" { when = all { count("from"):above(0), function(w) return w.seq % 2 == 0 end }, act = function() endless() end },
  rule "well" { per = "from.src", act = log, when = function(w, key) return key == "10.77.0.1" and w.from:count() == 1 end },
  rule "data" { act = log, when = sum("from.packets"):above(0) },
} }
END
start "$B" "$OUT/rules" run rules.lua --json
run=$PID
start_event "$OUT/rules" "$run"
before=$(link_counter "$B" vb rx_packets)
failed() { json "$OUT/rules" 'select(.event == "error" and (.hint | startswith("it is not called again"))) | .rule'; }
wait_for "[ \$(failed | wc -l) -ge 9 ]" 60 'errors of nine functions'
# `acts` fires in every other window with packets: also on a machine that is too busy to let it run at the first try.
wait_for "run_in $A ping -q -c 1 $B4 >'$OUT/ping'; [ \$(failed | wc -l) -ge 10 ]" 60 'the error of the act'
first=$(events "$OUT/rules" window)
wait_for "[ \$(events '$OUT/rules' window) -ge $((first + 5)) ]" 30 'windows after that'
run_in "$A" ping -q -c 20 -i 0.05 "$B4" >"$OUT/ping"
wait_for "[ -z \"\$(children $run)\" ]" 20 'a moment without a child: none is left unreaped'
after=$(link_counter "$B" vb rx_packets)
stop "$run"

expect() { # RULE LINE PATTERN
	assert_match "^rules.lua:$2: $3" "$(json "$OUT/rules" "select(.event == \"error\" and .rule == \"$1\" and (.hint | startswith(\"it is not called\")))
		| \"\(.file):\(.line): \(.message)\" | split(\"\n\") | join(\" \")")" "the error of $1"
}
expect loops 6 'the function did not return within 200ms'
expect pcalls 7 'the function did not return within 200ms'
expect xpcalls 8 'the function did not return within 200ms'
expect finds 9 'the function did not return within 200ms'
expect gsubs 10 'the function did not return within 200ms'
expect reps 11 'the function did not return within 200ms'
expect huge 12 'the function needs more than 64 MB of memory'
expect threads 13 'the function did not return within 200ms'
expect traces 14 'rules.lua:3: deep stack traceback: .*rules.lua:3: in function .*rules.lua:14: in function'
expect acts 15 'the function did not return within 200ms'
assert_eq 10 "$(failed | sort -u | wc -l)" 'functions that failed, once each'
assert_eq 10 "$(failed | wc -l)" 'errors of them'
for rule in well data; do
	assert_match firing "$(json "$OUT/rules" "select(.event == \"rule\" and .rule == \"$rule\") | .state")" "the rule $rule"
done
assert_eq '' "$(json "$OUT/rules" 'select(.event == "rule" and .rule != "well" and .rule != "data" and .rule != "acts") | .rule')" 'rules whose function failed'

# conserved FILE [PACKETS]: each packet is in one window, each window follows the one before.
conserved() {
	assert_eq '' "$(json "$1" 'select(.event == "window") | .seq' | awk '$1 != NR')" "windows of $1 that are out of turn"
	assert_eq '' "$(json "$1" 'select(.event == "window") | .start + " " + .end' | awk 'NR > 1 && $1 != end { print } { end = $2 }')" \
		"windows of $1 that do not begin where the last one ends"
	total=$(json "$1" 'select(.event == "summary") | .packets')
	assert_eq "$total" "$(json "$1" 'select(.event == "window") | .packets' | awk '{ n += $1 } END { print n }')" "packets in the windows of $1"
	assert_eq "${2:-$total}" "$total" "packets in $1"
}
conserved "$OUT/rules" $((after - before))
/usr/bin/python3 "$PERILUNE_SOURCE/tests/e2e/schema.py" "$OUT/rules"
assert_clean "$B" vb

# What grows bit by bit: with time enough it is the limit of memory that ends it, on any machine.
policy grows <<'END'
local from = flows "from" { key = "src" }
return policy "grows" { window = "10s", always = { from }, limits = { time = "10s", total = "10s" }, rules = {
  rule "tables" { act = log, when = function() local t = {} while true do t[#t + 1] = { #t } end end },
  rule "caught" { act = log, when = function() pcall(function() local t = {} while true do t[#t + 1] = { #t } end end) end },
  rule "texts" { act = log, when = function() local s = "x" while true do s = s .. s end end },
} }
END
assert_exit 0 "$PERILUNE" replay grows.lua "$PCAPS/http_get.pcap" --json
assert_eq '3 tables
4 caught
5 texts' "$(jq -r 'select(.event == "error" and (.message | startswith("the function needs more than 64 MB of memory"))) | "\(.line - 0) \(.rule)"' "$OUT/stdout" | sort -u)" 'functions that grow'

# What functions print, whole lines of it, up to a bound.
policy talks <<'END'
local from = flows "from" { key = "src" }
return policy "talks" { window = "10s", always = { from }, rules = { rule "r" { act = log, when = function(w)
  if w.seq == 1 then for i = 1, 1e4 do print(("line %5d"):format(i)) end end end } } }
END
assert_exit 0 "$PERILUNE" replay talks.lua "$PCAPS/http_get.pcap" --json
assert_eq $((65536 / 11)) "$(grep -c '^line [ 0-9]\{5\}$' "$OUT/stderr")" 'lines printed, of 11 bytes each'
assert_eq 1 "$(grep -c '^perilune: print: more than .* in one window' "$OUT/stderr")" 'that the rest is left out'

# ---------------------------------------------------------------------------------------------- beside others

# One spins all the time; eight others, in processes of their own, end each window in its time.
policy spins <<'END'
return policy "spins" { attach = { iface = "vb", hook = "tc.ingress" }, window = "100ms", always = { counter "all" {} },
  limits = { time = "10s", total = "10s" }, rules = { rule "r" { act = log, when = function() while true do end end } } }
END
policy other <<'END'
return policy "other" { attach = { iface = "vb", hook = "tc.ingress" }, window = "250ms", always = { counter "all" {} },
  rules = { rule "r" { act = log, when = sum("all.packets"):above(0) } } }
END
others=''
for i in 1 2 3 4 5 6 7 8; do
	start "$B" "$OUT/other.$i" run other.lua --json
	others="$others $PID"
	start_event "$OUT/other.$i" "$PID"
done
before=$(link_counter "$B" vb rx_packets)
start "$B" "$OUT/spins" run spins.lua --json
run=$PID
start_event "$OUT/spins" "$run"
wait_for "[ -n \"\$(children $run)\" ]" 30 'the child that spins'
spinner=$(children "$run" | tr -d ' ')
first=$(events "$OUT/other.1" window)
run_in "$A" ping -q -c 100 -i 0.02 "$B4" >"$OUT/ping"
wait_for "[ \$(events '$OUT/other.1' window) -ge $((first + 16)) ]" 30 'windows of the others'
assert_eq "$spinner" "$(children "$run" | tr -d ' ')" 'the child that has been spinning meanwhile'
kill -KILL "$spinner"
wait_for "[ \$(events '$OUT/spins' error) -ge 1 ]" 20 'the error of the one that spun'
assert_match '^the function ended in signal 9 ' "$(json "$OUT/spins" 'select(.event == "error") | .message')" 'what is said of it'
stop "$run"
conserved "$OUT/spins"
after=$(link_counter "$B" vb rx_packets)
i=0
for pid in $others; do
	i=$((i + 1))
	stop "$pid"
	conserved "$OUT/other.$i" $((after - before))
	late=$(json "$OUT/other.$i" 'select(.event == "window" and .seconds >= 0.5) | .seconds')
	assert_eq '' "$late" "windows of other.$i that took the place of two"
	json "$OUT/other.$i" 'select(.event == "window" and .cut == "clock") | .seconds' |
		awk '{ n++; s += $1 } END { exit !(n >= 16 && s / n < 0.26) }' || fail "other.$i: windows are longer than 250 ms"
done
assert_clean "$B" vb
say 'what did not end was ended'
