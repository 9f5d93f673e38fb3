# SPDX-License-Identifier: Apache-2.0
"""For tests of --pin: a lab of its own, traffic, runs that are killed, and what all of them together have counted."""

import collections
import json
import os
import signal
import subprocess
import sys
import time

PERILUNE = os.environ["PERILUNE"]
SOURCE = os.environ["PERILUNE_SOURCE"]
BUILD = os.environ["PERILUNE_BUILD"]
FAULTS = f"{BUILD}/tests/perilune_faults"
PINS = "/sys/fs/bpf/perilune"


def own_mounts():
    """Goes on in a mount namespace of its own, with a BPF file system in it."""
    if os.environ.get("PERILUNE_TEST_MOUNTS") == "own":
        return
    os.environ["PERILUNE_TEST_MOUNTS"] = "own"
    script = 'mount -t bpf -o mode=0700 bpf /sys/fs/bpf && exec "$0" "$@"'
    os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "sh", "-c", script,
                          sys.executable, *sys.argv])


def run(*words):
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


SENDER = r"""
import socket, struct, sys, time
link, burst, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((link, 0))
def frame(port):
    ip = bytes.fromhex("450000300000000040110000") + bytes([10, 77, 0, 77, 10, 77, 0, 99])
    return bytes.fromhex("0200000000020200000000010800") + ip + struct.pack("!HHHH", port, 9, 28, 0) + b"x" * 20
frames = [frame(1024 + i) for i in range(256)]
i = 0
while True:
    for _ in range(burst):
        try:
            s.send(frames[i % 256])
        except OSError:
            pass
        i += 1
    time.sleep(pause)
"""


class Lab:
    """Two namespaces joined by va --- vb, and a sender in the first."""

    def __init__(self, name):
        self.a, self.b = f"{name}-a-{os.getpid()}", f"{name}-b-{os.getpid()}"
        self.processes = []
        for ns in (self.a, self.b):
            run("ip", "netns", "add", ns)
            run("ip", "netns", "exec", ns, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        run("ip", "link", "add", "va", "netns", self.a, "type", "veth", "peer", "name", "vb", "netns", self.b)
        for ns, link in ((self.a, "va"), (self.b, "vb")):
            run("ip", "-n", ns, "link", "set", link, "arp", "off", "up")

    def close(self):
        for process in self.processes:
            process.kill()
            process.wait()
        for ns in (self.a, self.b):
            run("ip", "netns", "del", ns)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, words, **more):
        process = subprocess.Popen(["nsenter", f"--net=/run/netns/{self.b}", *words], **more)
        self.processes.append(process)
        return process

    def send(self, burst=20, pause=0.001):
        process = subprocess.Popen(["ip", "netns", "exec", self.a, sys.executable, "-c", SENDER, "va", str(burst),
                                    str(pause)])
        self.processes.append(process)
        return process

    def silence(self, sender):
        """No packet is sent any more, and none is on its way."""
        sender.kill()
        sender.wait()
        self.processes.remove(sender)
        before = -1
        while before != self.received():
            before = self.received()
            time.sleep(0.05)

    def received(self):
        words = ["ip", "-n", self.b, "-j", "-s", "link", "show", "vb"]
        return json.loads(subprocess.check_output(words))[0]["stats64"]["rx"]["packets"]


def lines(path):
    """Events of a run that are whole."""
    events = []
    with open(path, "rb") as file:
        for line in file:
            try:
                events.append(json.loads(line))
            except ValueError:
                pass  # it was killed while it wrote
    return events


def wait_for(condition, what, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited {seconds} s for {what}")
        time.sleep(0.005)


class Run:
    """A perilune with --pin --json."""

    def __init__(self, lab, path, policy, *words, program=PERILUNE, env=None, err=None):
        self.path, self.err = path, err or path + ".err"
        with open(path, "wb") as out, open(self.err, "wb") as err:
            self.process = lab.start([program, "run", policy, "--pin", "--json", *words], stdout=out, stderr=err,
                                     stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})})

    def seen(self, event):
        return sum(one["event"] == event for one in lines(self.path))

    def started(self, windows=0):
        def ready():
            return self.process.poll() is not None or self.seen("start") and self.seen("window") >= windows
        wait_for(ready, f"the start of {self.path}")
        if self.process.poll() is not None:
            with open(self.err, encoding="utf8") as file:
                sys.exit(f"{self.path} ended: {self.process.returncode} {file.read()}")

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def died(self):
        """Waits for its end by a fault."""
        if self.process.wait(60) != -signal.SIGKILL:
            sys.exit(f"{self.path} was to be killed, and ended with {self.process.returncode}")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        if self.process.wait(60):
            with open(self.err, encoding="utf8") as file:
                sys.exit(f"{self.path}: exit status {self.process.returncode}: {file.read()}")


class Union:
    """What a consumer has who tells windows apart by boot and seq, of the output of several runs in their order."""

    def __init__(self, paths):
        self.windows, self.rows, self.twice, self.wrong, self.cuts = {}, {}, 0, [], collections.Counter()
        self.starts = []
        for path in paths:
            boot = None
            for event in lines(path):
                if event["event"] == "start":
                    boot = event["boot"]
                    self.starts.append(event)
                elif event["event"] == "window":
                    self.window((boot, event["seq"]), event)
                elif event["event"] == "records":
                    self.rows[(boot, event["seq"], event["probe"])] = sum(row["packets"] for row in event["rows"])

    def window(self, key, event):
        before = self.windows.get(key)
        if before:
            self.twice += 1
            for name in ("packets", "skbs", "bytes", "level", "start"):
                if before[name] != event[name]:
                    self.wrong.append(f"window {key[1]}: {name} {before[name]}, then {event[name]}")
        self.cuts[event["cut"]] += 1
        self.windows[key] = event

    def packets(self):
        return sum(event["packets"] for event in self.windows.values())

    def judge(self, received, probe=None):
        """Says what does not add up."""
        wrong = list(self.wrong)
        if self.packets() != received:
            wrong.append(f"{self.packets()} packets in windows, {received} received")
        seqs = sorted(seq for _, seq in self.windows)
        if seqs != list(range(seqs[0], seqs[0] + len(seqs))):
            wrong.append(f"{len(seqs)} windows from {seqs[0]} to {seqs[-1]}: some are missing")
        for (boot, seq), event in self.windows.items():
            rows = self.rows.get((boot, seq, probe)) if probe else None
            if probe and event["packets"] and rows != event["packets"] - event["loss"]["map_full"]:
                wrong.append(f"window {seq}: {event['packets']} packets, {rows} in rows")
        if wrong:
            sys.exit("\n".join(["WRONG", *wrong[:20]]))


def nothing_left(lab):
    """What a clean stop leaves: nothing."""
    if os.path.exists(PINS):
        sys.exit(f"{PINS} is still there: {list(os.walk(PINS))}")
    left = subprocess.run(["nsenter", f"--net=/run/netns/{lab.b}", "bpftool", "net", "show", "dev", "vb"],
                          capture_output=True, text=True, check=True).stdout
    if "vb(" in left:
        sys.exit(f"still attached: {left}")
