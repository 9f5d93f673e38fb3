# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
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


POLICIES = {
    "rows": ["--set", "window=20ms", "--set", "entries=1024"],
    "triggers": [],  # its windows end by the kernel's word as well
}


def kill(lab, out, policy, kills):
    """So many kills of runs of one policy."""
    rnd = random.Random(SEED)
    words = ["--set", "iface=vb", "--set", "hook=tc.ingress", *POLICIES[policy]]
    paths = []

    def begin():
        paths.append(f"{out}/{policy}{len(paths)}")
        return killed.Run(lab, paths[-1], f"{killed.SOURCE}/tests/e2e/policies/{policy}.lua", *words)

    before = lab.received()
    one = begin()
    one.started()
    sender = lab.send()
    began = time.monotonic()
    for _ in range(kills):
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
    union.judge(received, probe="all" if policy == "rows" else None)
    summary = [event for event in killed.lines(paths[-1]) if event["event"] == "summary"][0]
    if summary["packets"] != received or summary["windows"] != len(union.windows):
        sys.exit(f"the summary has {summary['packets']} packets in {summary['windows']} windows, of {received} in "
                 f"{len(union.windows)}")
    killed.nothing_left(lab)
    adopted = sum(start["adopted"] for start in union.starts)
    print(f"{policy}: {received} packets in {len(union.windows)} windows, {union.twice} of them told twice; {kills} kills, "
          f"{adopted} adoptions, seed {SEED}, {seconds:.0f} s; windows cut by {dict(union.cuts)}")
    if adopted < kills / 3 or not received:
        sys.exit("that shows little")


def main():
    killed.own_mounts()
    with tempfile.TemporaryDirectory() as out, killed.Lab("perilune-kills") as lab:
        for policy in POLICIES:
            kill(lab, out, policy, KILLS // len(POLICIES))


main()
