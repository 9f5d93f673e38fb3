# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
# ctest: once
"""serve --pin: the daemon is killed, leaves (SIGUSR2), and reads its policies again (SIGHUP), changed or not, under traffic. What its export has over all of
that is what the kernel has received."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import killed

KILLS = 8
POLICY = """
return policy "count" {
  attach = { iface = "vb", hook = "tc.ingress" }, window = "50ms",
  always = { counter "totals" {}, flows "all" { key = "5tuple", entries = %d } },
}
"""
CONFIGURATION = """
return daemon {
  pin = true,
  listen = { { unix = "%s/socket" } },
  exports = { export "archive" { file = "%s/archive", events = { "start", "window", "reload", "summary" } } },
  policies = { policy "count" { file = "%s/count.lua" } },
}
"""


def check(right, what):
    if not right:
        sys.exit(what)


class Daemon:
    def __init__(self, lab, out):
        self.out = out
        self.windows = len(self.archive("window"))
        self.reloads = len(self.archive("reload"))
        with open(f"{out}/log", "ab") as log:
            self.process = lab.start([killed.PERILUNE, "serve", "--config", f"{out}/daemon.lua", "--log", "debug:json"],
                                     stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                     env={**os.environ, "PERILUNE_STATE": f"{out}/state"})

    def archive(self, event):
        path = f"{self.out}/archive"
        return [one for one in killed.lines(path) if one["event"] == event] if os.path.exists(path) else []

    def goes_on(self, windows=2, reloads=0):
        def ready():
            return self.process.poll() is not None or (len(self.archive("window")) >= self.windows + windows and
                                                       len(self.archive("reload")) >= self.reloads + reloads)
        killed.wait_for(ready, "windows")
        check(self.process.poll() is None, f"the daemon ended: {self.process.returncode}")

    def end(self, number):
        self.process.send_signal(number)
        status = self.process.wait(60)
        check(status == (-number if number == signal.SIGKILL else 0), f"the daemon's exit status is {status}")


def main():
    killed.own_mounts()
    rnd = random.Random(3)
    with tempfile.TemporaryDirectory() as out, killed.Lab("perilune-pind") as lab:
        with open(f"{out}/daemon.lua", "w", encoding="utf8") as file:
            file.write(CONFIGURATION % (out, out, out))
        with open(f"{out}/count.lua", "w", encoding="utf8") as file:
            file.write(POLICY % 1024)
        before = lab.received()
        one = Daemon(lab, out)
        one.goes_on()
        sender = lab.send()
        for _ in range(KILLS):
            time.sleep(rnd.uniform(0.01, 0.3))
            one.end(signal.SIGKILL)
            one = Daemon(lab, out)
            one.goes_on()
        one.end(signal.SIGUSR2)
        one = Daemon(lab, out)
        one.goes_on()
        for entries in (1024, 2048):  # the same policy, and another: in the place of the one that runs, and pinned like it
            with open(f"{out}/count.lua", "w", encoding="utf8") as file:
                file.write(POLICY % entries)
            one.windows, one.reloads = len(one.archive("window")), len(one.archive("reload"))
            one.process.send_signal(signal.SIGHUP)
            one.goes_on(reloads=1)
        one.end(signal.SIGKILL)
        one = Daemon(lab, out)
        one.goes_on()
        lab.silence(sender)
        received = lab.received() - before
        one.windows = len(one.archive("window"))
        one.goes_on()
        union = killed.Union([f"{out}/archive"])
        union.judge(received)
        adopted = [start["adopted"] for start in union.starts]
        check(adopted[0] is False and all(adopted[1:]) and len(adopted) == KILLS + 3, f"starts: {adopted}")
        with open(f"{out}/log", encoding="utf8") as file:
            wrong = [line for line in file if '"level":"error"' in line]
        check(not wrong, "".join(wrong))
        one.end(signal.SIGTERM)
        killed.nothing_left(lab)
        print(f"{received} packets in {len(union.windows)} windows of {len(adopted)} processes, {union.twice} told twice")


main()
