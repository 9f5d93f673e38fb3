#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# perilune bench measures every way to read a map, and says so in JSON. How fast they are is not judged here.
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

"$PERILUNE" bench | grep -q 'bench extract'
for wrong in 'bench nothing' 'bench extract --entries 12' 'bench extract more'; do
	status=0
	# shellcheck disable=SC2086 # words
	"$PERILUNE" $wrong >"$out" 2>&1 || status=$?
	[ "$status" = 2 ] || {
		echo "perilune $wrong: status $status"
		exit 1
	}
done
