# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Whoever reads the events of a run slowly gets all of them, and delays no window."""
import fcntl
import json
import os
import signal
import subprocess
import time

from serve import COUNT, PERILUNE, equal, fail, main, until

F_SETPIPE_SZ = 1031
WINDOW = 0.1  # seconds


def windows_of(text):
    events = [json.loads(line) for line in text.splitlines()]
    return [e for e in events if e["event"] == "window"], events


def a_slow_reader_delays_no_window(world):
    """With a pipe of one page that nobody reads, a write that waited would hold every window up for a second."""
    policy = world.write("count.lua", COUNT % "")
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, F_SETPIPE_SZ, 4096)
    run = subprocess.Popen(["ip", "netns", "exec", world.netns, PERILUNE, "run", policy, "--json"], stdin=subprocess.DEVNULL,
                           stdout=write_end, stderr=subprocess.DEVNULL)
    os.close(write_end)
    world.closers.append(lambda: run.poll() is None and run.kill())
    until(world.attached, "the policy to be attached")
    # While nothing is read nobody tells how many windows there were, but a page has room for the first few only.
    sent, begin = 0, time.monotonic()
    while time.monotonic() - begin < 40 * WINDOW:
        world.send(5)
        sent += 5
    os.kill(run.pid, signal.SIGTERM)
    with os.fdopen(read_end) as lines:
        windows, events = windows_of(lines.read())
    equal(0, run.wait(), "the exit status")
    equal("summary", events[-1]["event"], "the last event")
    equal(list(range(1, len(windows) + 1)), [w["seq"] for w in windows], "the numbers of windows")
    equal(sent, sum(w["packets"] for w in windows), "the packets of all windows")
    lengths = sorted(w["seconds"] for w in windows)
    if lengths[len(lengths) // 2] > 5 * WINDOW or len(windows) < 10:
        fail("windows of %g s, of which nobody read, were %r" % (WINDOW, lengths))


if __name__ == "__main__":
    main(a_slow_reader_delays_no_window)
