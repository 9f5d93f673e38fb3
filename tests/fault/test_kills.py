# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 300
# ctest: once
"""kill -9 at a random moment, a hundred times, under traffic: every packet that the kernel has received is in exactly one window, for whoever
tells windows apart by boot and number; totals go on; and nothing is left that a clean stop would not leave."""

import os
import random
import sys
import tempfile
import time

import killed

KILLS = int(os.environ.get("PERILUNE_TEST_KILLS", "100"))
SEED = int(os.environ.get("PERILUNE_TEST_SEED", "1"))


def main():
    killed.own_mounts()
    rnd = random.Random(SEED)
    policy = f"{killed.SOURCE}/tests/e2e/policies/rows.lua"
    words = ["--set", "iface=vb", "--set", "hook=tc.ingress", "--set", "window=20ms", "--set", "entries=1024"]
    with tempfile.TemporaryDirectory() as out, killed.Lab("perilune-kills") as lab:
        paths = []

        def begin():
            paths.append(f"{out}/run{len(paths)}")
            return killed.Run(lab, paths[-1], policy, *words)

        one = begin()
        one.started()
        before = lab.received()
        sender = lab.send()
        began = time.monotonic()
        for _ in range(KILLS):
            time.sleep(rnd.uniform(0.002, 0.2))
            one.kill()
            one = begin()
            if rnd.random() < 0.5:  # else it may be killed before it has begun
                one.started()
        one.started()
        lab.silence(sender)
        received = lab.received() - before
        one.stop()
        seconds = time.monotonic() - began
        union = killed.Union(paths)
        union.judge(received, probe="all")
        summary = [event for event in killed.lines(paths[-1]) if event["event"] == "summary"][0]
        if summary["packets"] != received or summary["windows"] != len(union.windows):
            sys.exit(f"the summary has {summary['packets']} packets in {summary['windows']} windows, of {received} in "
                     f"{len(union.windows)}")
        killed.nothing_left(lab)
        adopted = sum(start["adopted"] for start in union.starts)
        print(f"{received} packets in {len(union.windows)} windows, {union.twice} of them told twice; {KILLS} kills, "
              f"{adopted} adoptions, seed {SEED}, {seconds:.0f} s; windows cut by {dict(union.cuts)}")
        if adopted < KILLS / 3 or not received:
            sys.exit("that shows little")


main()
