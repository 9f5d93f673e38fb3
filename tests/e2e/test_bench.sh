#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# perilune bench measures every way to read a map and to end a window, calls, and a dump against bpftool's, and says so in JSON. How fast
# they are is not judged here.
# ctest: serial
# ctest: once
# ctest: timeout 1800
set -eu
. "$PERILUNE_SOURCE/tests/e2e/lib.sh"

need jq bpftool bpftrace pgrep
out=$OUT/out
timeout 600 "$PERILUNE" bench extract --entries 2000 --json >"$out"
"${PYTHON:-/usr/bin/python3}" - "$out" <<'END'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
assert all(line["v"] == 1 and line["bench"] == "extract" and line["entries"] == 2000 for line in lines)
work = {(line["way"], line["work"]): line for line in lines if line["kind"] == "measurement"}
ways = {"single": {"plain", "json"}, "batch": {"plain", "scan", "json", "clear"},
        "gather": {"plain", "scan", "json", "clear"}, "mapped": {"plain", "scan", "json"}}
assert set(work) == {(way, one) for way, all_of in ways.items() for one in all_of}, sorted(work)
for one, line in work.items():
    assert line["sample"] == 2000 and line["rounds"] == 15, line
    assert line["ns_per_entry"] > 0, line
    assert abs(line["ns_per_entry"] * line["entries_per_second"] / 1e9 - 1) < 0.001, line
assert {line["name"] for line in lines if line["kind"] == "ratio"} == {"gather:batch", "batch:single", "mapped:gather"}
timer, = [line for line in lines if line["kind"] == "timer"]
assert timer["late_ms"] >= 0 and timer["drain_ms"] > 0
END

timeout 600 "$PERILUNE" bench packet --json >"$out"
"${PYTHON:-/usr/bin/python3}" - "$out" <<'END'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
assert all(line["v"] == 1 and line["bench"] == "packet" for line in lines)
programs = {line["program"]: line for line in lines if line["kind"] == "measurement"}
assert {"empty", "hook", "by_hand", "flows", "flows.tcp_flags", "counter", "fused"} <= set(programs), sorted(programs)
for name, line in programs.items():
    assert line["instructions"] > 1 and line["verified"] > 1 and line["ns"] >= -5, line
    assert ("." in name) == ("feature" in line) == ("more_ns" in line) == ("more_instructions" in line), line
    if "." in name:
        alone = programs[line["template"]]["instructions"]
        assert line["more_instructions"] == line["instructions"] - alone, line
assert programs["empty"]["map_bytes"] == 0 < programs["flows"]["map_bytes"]
assert {line["name"] for line in lines if line["kind"] == "ratio"} == {
    "flows:by_hand", "flows:by_hand_bare", "percpu:shared", "ipv4_key:common_key", "fused:separate", "trigger:without",
    "trigger_counts:without"}
END
timeout 600 "$PERILUNE" templates counter --cost >"$out"
grep -qE '^  counter\.tcp_flags +-?[0-9.]+ +[-+][0-9.]+ +[0-9]+ +[-+][0-9]+ ' "$out"

# Against bpftool: both print the same pairs, or it fails.
timeout 600 "$PERILUNE" bench map --entries 2000 --json >"$out"
"${PYTHON:-/usr/bin/python3}" - "$out" <<'END'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
assert all(line["v"] == 1 and line["bench"] == "map" and line["entries"] == 2000 for line in lines)
work = {line["program"]: line for line in lines if line["kind"] == "measurement"}
assert set(work) == {"perilune", "bpftool"}, sorted(work)
assert all(line["rounds"] == 9 and line["seconds"] > 0 and line["peak_kb"] > 0 for line in work.values())
ratio, = [line for line in lines if line["kind"] == "ratio"]
assert abs(ratio["value"] - work["bpftool"]["seconds"] / work["perilune"]["seconds"]) < 0.001 * ratio["value"]
END

timeout 600 "$PERILUNE" bench swap --json >"$OUT/swap"
"${PYTHON:-/usr/bin/python3}" - "$OUT/swap" <<'END'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
assert all(line["v"] == 1 and line["bench"] == "swap" for line in lines)
ways = {line["way"]: line for line in lines if line["kind"] == "measurement"}
assert set(ways) == {"flip", "twin_tcx", "twin_xdp", "recompile"}, sorted(ways)
for way, line in ways.items():
    parts = ["swap", "call"] + (["compile", "load", "attach"] if way == "recompile" else ["grace", "read"])
    numbers = {name for part in parts for name in (part + "_us", part + "_p99_us")}
    assert set(line) == {"v", "kind", "bench", "way", "rounds"} | numbers, line
    assert all(0 < line[part + "_us"] <= line[part + "_p99_us"] for part in parts), line
    assert line["rounds"] == (12 if way == "recompile" else 100), line
for line in lines:
    if line["kind"] == "ratio":
        way = ways[line["name"].split(":")[0]]
        assert abs(line["value"] * way["swap_us"] / ways["recompile"]["swap_us"] - 1) < 0.001, line
assert sum(line["kind"] == "ratio" for line in lines) == 3
END

timeout 600 "$PERILUNE" bench call --json >"$OUT/call"
"${PYTHON:-/usr/bin/python3}" - "$OUT/call" <<'END'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
assert all(line["v"] == 1 and line["kind"] == "measurement" and line["bench"] == "call" for line in lines)
assert [line["way"] for line in lines] == ["window"] * 4 + ["again", "direct"]
assert all(0 < line["us"] <= line["p99_us"] and line["rounds"] > 0 for line in lines)
sizes = [line["resident_mb"] for line in lines if line["way"] == "window"]
assert sizes == sorted(sizes) and sizes[3] > 256, sizes
END

# A packet that trips is followed, on its CPU, by one that the deeper level sees.
timeout 400 "$PERILUNE" bench escalate --json >"$OUT/escalate"
"${PYTHON:-/usr/bin/python3}" - "$OUT/escalate" <<'END'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
assert all(line["v"] == 1 and line["bench"] == "escalate" for line in lines)
ways = {line["way"]: line for line in lines if line["kind"] == "measurement"}
assert list(ways) == ["kernel", "lua", "recompile"], sorted(ways)
assert all(0 < line["us"] <= line["p99_us"] and line["packets_per_second"] > 100 for line in ways.values()), ways
assert ways["kernel"]["next_packet"] == ways["kernel"]["rounds"] == 300, ways["kernel"]
assert 0 < ways["lua"]["decided_p99_us"] <= ways["lua"]["p99_us"], ways["lua"]
assert ways["lua"]["rounds"] == 200 and 0 < ways["recompile"]["compile_us"] < ways["recompile"]["us"]
ratio, = [line for line in lines if line["kind"] == "ratio"]
assert abs(ratio["value"] * ways["lua"]["us"] / ways["recompile"]["us"] - 1) < 0.001, ratio
assert ratio["value"] >= 100, ratio
END

# A signal at any moment leaves nothing of it.
programs() { bpftool -j prog show | jq '[.[] | select(.name == "watch" or .name == "watch_xdp" or .name == "tc_root")] | length'; }
here=$(readlink /proc/self/ns/net)
for progress in 1 3; do
	timeout 120 "$PERILUNE" bench swap >"$OUT/stopped" 2>&1 </dev/null &
	PID=$!
	PIDS="$PIDS $PID"
	wait_for "bench=\$(pgrep -P $PID) && [ \"\$(readlink /proc/\$bench/ns/net)\" != '$here' ]" 30 'its namespace'
	wait_for "[ \$(programs) -ge $progress ] || ! alive $PID" 30 'its programs'
	kill -INT "$(pgrep -P "$PID")"
	finish "$PID"
	assert_eq 130 "$STATUS" 'the exit status after SIGINT'
	assert_eq '' "$(cat "$OUT/stopped")" 'what it said'
	wait_for "[ \"\$(programs)\" = 0 ]" 10 'its programs to be gone'
done

"$PERILUNE" bench | grep -q 'bench extract'
for wrong in 'bench nothing' 'bench extract --entries 12' 'bench extract more' 'bench map --entries 12' 'bench swap --entries 1000'; do
	status=0
	# shellcheck disable=SC2086 # words
	"$PERILUNE" $wrong >"$out" 2>&1 || status=$?
	[ "$status" = 2 ] || {
		echo "perilune $wrong: status $status"
		exit 1
	}
done

# From the command to the first window: both ways are measured, and what is said adds up. It takes less than 150 ms; on a machine that is slow
# or has other things to do, bpftrace is slow too.
timeout 600 "$PERILUNE" bench start --json >"$OUT/start"
"${PYTHON:-/usr/bin/python3}" - "$OUT/start" <<'END'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
assert [line["way"] for line in lines] == ["one-liner", "bpftrace"], lines
for line in lines:
    assert line["bench"] == "start" and line["rounds"] == 11, line
    assert 0 < line["least_ms"] <= line["ms"] <= line["most_ms"], line
assert abs(lines[1]["ratio"] - lines[1]["ms"] / lines[0]["ms"]) < 1e-3, lines
least, beside = (line["least_ms"] for line in lines)
assert least < max(150, 2.5 * beside), lines
END

# The daemon's answers: every path both ways, and the map was read whole while it answered.
timeout 600 "$PERILUNE" bench rest --entries 2000 --json >"$OUT/rest"
"${PYTHON:-/usr/bin/python3}" - "$OUT/rest" <<'END'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
assert sorted(line["way"] for line in lines) == ["busy"] * 3 + ["quiet"] * 3, lines
for line in lines:
    assert line["bench"] == "rest" and line["entries"] == 2000 and 0 < line["ms"] <= line["p99_ms"], line
    assert line["way"] == "quiet" or line["reads"] > 0, line
END

# Injecting what was made for Dynmon: every way is measured, and what is said of them adds up.
timeout 300 "$PERILUNE" bench inject --json >"$OUT/inject"
"${PYTHON:-/usr/bin/python3}" - "$OUT/inject" <<'END'
import json, sys

lines = [json.loads(line) for line in open(sys.argv[1])]
ms = {line["way"]: line["ms"] for line in lines if line["kind"] == "measurement"}
assert set(ms) == {"bare", "cached", "clang", "cold"}, lines
for line in lines:
    assert line["bench"] == "inject", line
    assert line["kind"] == "ratio" or 0 < line["least_ms"] <= line["ms"] <= line["most_ms"], line
ratios = {line["name"]: line["value"] for line in lines if line["kind"] == "ratio"}
assert abs(ratios["cached:bare_more_ms"] - (ms["cached"] - ms["bare"])) < 0.01 * ms["cached"], lines
assert abs(ratios["cold:clang"] - (ms["cold"] - ms["bare"]) / ms["clang"]) < 0.01 * ratios["cold:clang"], lines
END
