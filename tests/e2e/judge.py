#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds a run's JSON events against themselves and against what the kernel counted.

    judge.py RUN [--packets N] [--windows N] [--transitions N] [--probe NAME[,rows=N][,full]] … [--merged]

Always: windows follow each other without a gap; their packets, skbs, bytes and losses add up to the summary's, and each window's
directions to the window's; every transition takes the ladder from the level it was at, and each window but one cut by the change
is at the level in force. With --probe: in every window whose level watches that probe, its rows' packets and its counted loss are the
window's packets, its skbs and bytes are the window's when nothing was lost, no key is there twice, and no row is missing.

    --packets N       the summary's packets, exactly
    --windows N       at least so many windows with packets
    --transitions N   at least so many changes of level
    --triggered N     at least so many times that a rule fired by a trigger
    --probe NAME      an unfiltered probe with rows; rows=N: never more, full: loss.map_full must not be 0 in the end,
                      levels=A+B: where it runs (default: everywhere)
    --merged          some window must have fewer skbs than packets

Prints what it compared. Exit status: 0 it holds, 1 it does not.
"""
import argparse
import json
import sys

COUNTS = ("packets", "skbs", "bytes")
LOSS = ("map_full", "evicted", "ring_full", "not_parsed", "late", "limited")
NOT_PARSED = ("not_ip", "truncated", "malformed")


class Judge:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.events = [json.loads(line) for line in file]
        self.wrong = []
        self.windows = self.of("window")
        summaries = self.of("summary")
        self.summary = summaries[0] if len(summaries) == 1 else None
        self.expect(self.summary is not None, "there are %d summaries" % len(summaries))

    def of(self, name):
        return [event for event in self.events if event["event"] == name]

    def expect(self, holds, text):
        if not holds:
            self.wrong.append(text)
        return holds

    def equal(self, expected, actual, what):
        self.expect(expected == actual, "%s: expected %s, got %s" % (what, expected, actual))

    def sequence(self):
        for number, window in enumerate(self.windows, 1):
            self.equal(number, window["seq"], "the window after %d" % (number - 1))
        for before, after in zip(self.windows, self.windows[1:]):
            self.equal(before["end"], after["start"], "the begin of window %d" % after["seq"])

    def sums(self):
        def total(pick):
            return sum(pick(window) for window in self.windows)

        for name in COUNTS:
            self.equal(total(lambda w: w[name]), self.summary[name], "the sum of the windows' %s" % name)
            for window in self.windows:
                ways = sum(way[name] for way in window["directions"].values())
                self.equal(window[name], ways, "window %d: %s of its directions" % (window["seq"], name))
            for way in self.summary["directions"]:
                self.equal(total(lambda w: w["directions"].get(way, {name: 0})[name]), self.summary["directions"][way][name],
                           "the sum of the windows' %s %s" % (way, name))
        for name in LOSS:
            self.equal(total(lambda w: w["loss"][name]), self.summary["loss"][name], "the sum of loss.%s" % name)
        for name in NOT_PARSED:
            self.equal(total(lambda w: w["not_parsed_by"][name]), self.summary["not_parsed_by"][name], "the sum of %s" % name)
        self.equal(len(self.windows), self.summary["windows"], "windows")
        self.equal(len(self.of("transition")), self.summary["transitions"], "transitions")

    def levels(self):
        changes = {}
        for event in self.of("transition"):
            changes.setdefault(event["seq"], []).append(event)
        level = self.of("start")[0]["levels"][0]
        running = {level}  # what the kernel may run in the window: a change shows after the window that was open already
        for window in self.windows:
            self.expect(not running or window["level"] in running, "the level of window %d (cut: %s): %s, not %s" % (
                window["seq"], window["cut"], window["level"], " or ".join(sorted(running))))
            before, told = level, changes.get(window["seq"], [])
            for change in told:
                self.equal(level, change["from"], "transition in window %d: from" % window["seq"])
                self.expect(change["to"] != level, "transition in window %d goes nowhere" % window["seq"])
                level = change["to"]
            running = {window["level"]}
            if window["cut"] in ("level", "schedule"):  # by a change that was told before, or by one that is told now
                running = {told[0]["to"] if told and window["level"] == before else before}
            if window["cut"] == "trigger":
                # As the kernel has raised it, on its way to the last one; a change that was heard late is told with the next window.
                running = {level} | {change["to"] for change in told + changes.get(window["seq"] + 1, [])}
        cuts = sum(window["cut"] in ("level", "schedule", "trigger") for window in self.windows)
        count = sum(map(len, changes.values()))
        self.expect(cuts <= count, "%d transitions, but %d windows cut by them" % (count, cuts))
        if not any(window["cut"] == "trigger" for window in self.windows):
            self.expect(count - 1 <= cuts, "%d transitions, but %d windows cut by them" % (count, cuts))

    def probe(self, spec):
        name, *words = spec.split(",")
        given = dict(word.partition("=")[::2] for word in words)
        levels = given["levels"].split("+") if "levels" in given else self.of("start")[0]["levels"]
        records = {}
        for event in self.of("records"):
            if event["probe"] == name:
                self.expect(event["seq"] not in records, "%s: two records for window %d" % (name, event["seq"]))
                records[event["seq"]] = event
        seen = lost = most = mixed = 0
        for window in self.windows:
            event = records.pop(window["seq"], None)
            if "deepest" in window:  # of several levels: its rows are of those where the probe runs
                if event is not None:
                    self.expect(sum(row["packets"] for row in event["rows"]) <= window["packets"],
                                "%s: more packets than window %d has" % (name, window["seq"]))
                mixed += 1
                continue
            if window["level"] not in levels:
                self.expect(event is None, "%s: records in window %d, whose level is %s" % (name, window["seq"], window["level"]))
                continue
            if not self.expect(event is not None, "%s: no records of window %d" % (name, window["seq"])):
                continue
            self.rows(name, window, event, int(given.get("rows", 1 << 62)))
            seen += window["packets"]
            lost += event["loss"]["map_full"]
            most = max(most, len(event["rows"]))
        self.equal([], sorted(records), "%s: windows of which there are only records" % name)
        self.expect(seen > 0, "%s: no packet came while it ran" % name)
        if "full" in given:
            self.expect(lost > 0, "%s: nothing was lost, though the map is too small" % name)
        else:
            self.equal(0, lost, "%s: packets lost in a map that is large enough" % name)
        print("probe %s: %d packets in rows + %d not = the %d of its windows; at most %d rows; %d windows of several levels" % (
            name, seen - lost, lost, seen, most, mixed))

    def rows(self, name, window, event, limit):
        where = "%s in window %d" % (name, window["seq"])
        rows, loss = event["rows"], event["loss"]
        key = [field for field in ("src", "dst", "sport", "dport", "proto", "ip_version") if rows and field in rows[0]]
        keys = {tuple(row[field] for field in key) for row in rows}
        self.equal(len(rows), len(keys), "%s: distinct keys" % where)
        self.equal(0, event["omitted"], "%s: omitted rows" % where)
        self.expect(len(rows) <= limit, "%s: %d rows in a map for %d" % (where, len(rows), limit))
        found = {name: sum(row[name] for row in rows) for name in COUNTS}
        self.equal(window["packets"], found["packets"] + sum(loss.values()), "%s: packets in rows and lost" % where)
        if not any(loss.values()):
            self.equal(window["skbs"], found["skbs"], "%s: skbs" % where)
            self.equal(window["bytes"], found["bytes"], "%s: bytes" % where)
        self.equal(window["loss"]["not_parsed"], loss["not_parsed"], "%s: not parsed" % where)
        for row in rows:
            self.expect(row["packets"] >= row["skbs"] >= 1, "%s: a row of %d packets in %d skbs" % (
                where, row["packets"], row["skbs"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("run")
    parser.add_argument("--packets", type=int)
    parser.add_argument("--windows", type=int, default=1)
    parser.add_argument("--transitions", type=int, default=0)
    parser.add_argument("--triggered", type=int, default=0)
    parser.add_argument("--probe", action="append", default=[])
    parser.add_argument("--merged", action="store_true")
    args = parser.parse_args()
    judge = Judge(args.run)
    if judge.summary:
        judge.sequence()
        judge.sums()
        judge.levels()
        for spec in args.probe:
            judge.probe(spec)
        if args.packets is not None:
            judge.equal(args.packets, judge.summary["packets"], "packets, as the kernel's counter has them")
        busy = sum(window["packets"] > 0 for window in judge.windows)
        merged = sum(window["packets"] > window["skbs"] for window in judge.windows)
        changes = judge.summary["transitions"]
        judge.expect(busy >= args.windows, "only %d windows have packets, not %d" % (busy, args.windows))
        judge.expect(changes >= args.transitions, "only %d transitions, not %d" % (changes, args.transitions))
        triggered = sum(event.get("why") == "trigger" for event in judge.of("rule"))
        judge.expect(triggered >= args.triggered, "only %d rules fired by a trigger, not %d" % (triggered, args.triggered))
        judge.expect(merged > 0 or not args.merged, "no window has merged packets")
        print("%d packets, %d skbs, %d bytes in %d windows (%d busy, %d with merged packets), %d transitions, %d triggered" % (
            judge.summary["packets"], judge.summary["skbs"], judge.summary["bytes"], len(judge.windows), busy, merged, changes, triggered))
    for text in judge.wrong[:20]:
        print("WRONG: %s" % text)
    if len(judge.wrong) > 20:
        print("… %d more" % (len(judge.wrong) - 20))
    return 1 if judge.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
