#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# perilune bench measures every way to read a map, and a dump against bpftool's, and says so in JSON. How fast they are is not judged here.
# ctest: serial
set -eu
. "$(dirname "$0")/lib.sh"

out=$(mktemp)
trap 'rm -f "$out"' EXIT
timeout 120 "$PERILUNE" bench extract --entries 2000 --json >"$out"
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

# Against bpftool: both print the same pairs, or it fails.
timeout 120 "$PERILUNE" bench map --entries 2000 --json >"$out"
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

"$PERILUNE" bench | grep -q 'bench extract'
for wrong in 'bench nothing' 'bench extract --entries 12' 'bench extract more' 'bench map --entries 12'; do
	status=0
	# shellcheck disable=SC2086 # words
	"$PERILUNE" $wrong >"$out" 2>&1 || status=$?
	[ "$status" = 2 ] || {
		echo "perilune $wrong: status $status"
		exit 1
	}
done
