# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
# ctest: once
"""run --pin --watch: the policy changes while it runs and is pinned, under traffic, and its process is killed at each step of that. Whoever goes
on does so with the one that the order of steps says, and all packets are in windows, each in one."""

import os
import subprocess
import sys
import tempfile

import killed

POLICY = """return policy "w" {{ attach = {{ iface = "vb", hook = "{hook}" }}, window = "{window}ms",
  always = {{ counter "totals" {{}}, flows "all" {{ key = "5tuple", entries = {entries} }} }} }}
"""

# Where it is killed: whether the new one has the place already, and whether a window is told of whose records are lost.
PLACES = {"prepared": (False, False), "exchanged": (True, True), "taking": (True, True), "inheriting": (True, True),
          "inherited": (True, False)}


def check(right, what):
    if not right:
        sys.exit(what)


class Watched:
    """A policy's file, and runs of it."""

    def __init__(self, lab, out, name):
        self.lab, self.path, self.out, self.runs = lab, f"{out}/{name}.lua", f"{out}/{name}", []

    def write(self, window, hook="tc", entries=1024):
        with open(self.path + ".new", "w", encoding="utf8") as file:
            file.write(POLICY.format(window=window, hook=hook, entries=entries))
        os.rename(self.path + ".new", self.path)

    def run(self, **more):
        self.runs.append(killed.Run(self.lab, f"{self.out}-{len(self.runs)}", self.path, "--watch", **more))
        return self.runs[-1]

    def union(self):
        return killed.Union([run.path for run in self.runs])


def errors(run):
    return [event["message"] for event in killed.lines(run.path) if event["event"] == "error"]


def reloads(out, lab):
    """Other windows, other hooks, other maps: no packet is missed, and none is seen twice."""
    changes = [(41, "tc", 1024), (42, "tc.ingress", 1024), (43, "tc", 512), (44, "tc", 2048)]
    watched = Watched(lab, out, "reloads")
    watched.write(40)
    before = lab.received()
    one = watched.run()
    one.started()
    sender = lab.send()
    for count, change in enumerate(changes, 1):
        one.started(windows=2 * count)
        watched.write(*change)
        killed.wait_for(lambda: one.seen("reload") >= count or one.seen("error"), f"reload {count}")
        check(not one.seen("error"), errors(one))
    one.started(windows=12)
    one.kill()
    two = watched.run()
    two.started(windows=4)
    lab.silence(sender)
    two.stop()
    union = watched.union()
    union.judge(lab.received() - before, probe="all")
    check([start["adopted"] for start in union.starts] == [False, True], f"{union.starts}")
    check(union.cuts["reload"] == len(changes), f"windows are cut by {dict(union.cuts)}")
    summary = [event for event in killed.lines(two.path) if event["event"] == "summary"][0]
    check(summary["packets"] == union.packets(), f"the summary has {summary['packets']} of {union.packets()}")
    killed.nothing_left(lab)
    print(f"{len(changes)} reloads and a kill: {union.packets()} packets in {len(union.windows)} windows")


def kills(out, lab):
    for place, (new, lost) in PLACES.items():
        watched = Watched(lab, out, place)
        watched.write(40)
        before = lab.received()
        one = watched.run(program=killed.FAULTS, env={"PERILUNE_FAULT_DIE": place})
        one.started()
        sender = lab.send()
        one.started(windows=3)
        watched.write(45, entries=512)
        one.died()
        middle = lab.received()
        killed.wait_for(lambda: lab.received() > middle + 2000, "packets while nobody is there")
        watched.write(*((40, "tc", 1024) if new else (45, "tc", 512)))
        error = subprocess.run(["nsenter", f"--net=/run/netns/{lab.b}", killed.PERILUNE, "run", watched.path, "--pin", "--json"],
                               capture_output=True, text=True, check=False, timeout=60).stderr
        check("this policy, built by this version, is another" in error, f"{place}: the other one: {error}")
        watched.write(*((45, "tc", 512) if new else (40, "tc", 1024)))
        two = watched.run()
        two.started(windows=5)
        lab.silence(sender)
        two.stop()
        union = watched.union()
        union.judge(lab.received() - before)
        check([start["adopted"] for start in union.starts] == [False, True], f"{place}: {union.starts}")
        check(len(errors(two)) == int(lost) and all("records are lost" in text for text in errors(two)), f"{place}: {errors(two)}")
        summary = [event for event in killed.lines(two.path) if event["event"] == "summary"][0]
        check(summary["packets"] == union.packets() and summary["windows"] == len(union.windows), f"{place}: {summary}")
        killed.nothing_left(lab)
        print(f"killed when {place}: {union.packets()} packets in {len(union.windows)} windows, {union.twice} told twice")


def main():
    killed.own_mounts()
    with tempfile.TemporaryDirectory() as out, killed.Lab("perilune-pinre") as lab:
        reloads(out, lab)
        kills(out, lab)


main()
