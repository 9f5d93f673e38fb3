# SPDX-License-Identifier: Apache-2.0
"""The table of packets through the real XDP program, one by one (BPF_PROG_TEST_RUN): each packet has a window to itself."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import table  # noqa: E402
import lab  # noqa: E402


def check(number, case, events):
    what = "packet %d, %s" % (number, case.what)
    window = lab.of(events, "window", seq=number)
    lab.equal(1, len(window), what + ": windows")
    window = window[0]
    reasons = dict.fromkeys(("not_ip", "truncated", "malformed"), 0)
    if not case.key("replay"):
        reasons[case.row] = 1
    lab.equal(reasons, window["not_parsed_by"], what + ": not parsed")
    flaws = dict.fromkeys(("bad_length", "bad_headers", "bad_transport"), 0)
    if case.flaw:
        flaws[case.flaw] = 1
    lab.equal(flaws, window["flawed_by"], what + ": flaws")
    octets = case.row[3] if case.key("replay") else 0
    lab.equal((1, 1, octets), (window["packets"], window["skbs"], window["bytes"]), what + ": packets, skbs and bytes")
    rows = lab.sum_rows([e for e in lab.of(events, "records", probe="rows") if e["seq"] == number])
    lab.equal({case.key("replay"): case.values("replay")} if case.key("replay") else {}, rows, what + ": rows")
    totals = table.counter(events, lambda event: event["seq"] == number)
    lab.equal(case.wire, totals["frame_bytes"], what + ": frame_bytes")
    for flag in table.FLAGS:
        lab.equal(int(flag in case.flags), totals[flag], what + ": counter's " + flag)


def main():
    frames = [((10 + 2 * i) * lab.NS, case.frame, case.wire) for i, case in enumerate(table.CASES)]
    policy = lab.write("table.lua", table.POLICY.encode())
    events = lab.read_events(lab.perilune("replay", policy, lab.write_pcap("table.pcap", frames), "--json")[0], "table.pcap")
    lab.conserved(events, "the table", len(frames))
    for number, case in enumerate(table.CASES, 1):
        check(number, case, events)
    lab.done("%d packets, each counted as the table says" % len(frames))


main()
