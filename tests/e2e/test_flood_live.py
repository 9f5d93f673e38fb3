# SPDX-License-Identifier: Apache-2.0
# ctest: serial
# ctest: once
# ctest: timeout 900
"""The floods and the crowd of tests/replay/test_flood_kinds.py once more, sent over a wire: the same result as in the replay.

The level is raised in the kernel, so how many packets of the flood were counted before is exact, however busy the machine is. The
flood is sent at a quarter of its own pace, so that naming its sender within 10,000 packets leaves the engine a second.
"""
import json
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.environ["PERILUNE_SOURCE"], "tests", "replay"))
os.environ["FLOOD_KINDS_AS_LIBRARY"] = "1"
import lab  # noqa: E402
import test_flood_kinds as kinds  # noqa: E402

PATIENCE = 120  # seconds
TAG = "fl%d" % os.getpid()


def ip(*words):
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Wire:
    """Two namespaces with a pair of interfaces and nothing of their own to say."""

    def __enter__(self):
        self.sender, self.receiver = TAG + "s", TAG + "r"
        for name in (self.sender, self.receiver):
            ip("netns", "add", name)
            for key in ("all", "default"):
                subprocess.run(["ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.%s.disable_ipv6=1" % key], check=True)
        ip("-n", self.sender, "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", self.receiver)
        for name, device in ((self.sender, "v0"), (self.receiver, "v1")):
            ip("-n", name, "link", "set", device, "up")
        return self

    def __exit__(self, *_):
        for name in (self.sender, self.receiver):
            subprocess.run(["ip", "netns", "del", name], check=False)

    def send(self, path):
        subprocess.run(["ip", "netns", "exec", self.sender, "tcpreplay", "-q", "--timer=nano", "-i", "v0", path], check=True,
                       capture_output=True)


class Run:
    """The policy, live; its events as they come."""

    def __init__(self, wire, name):
        self.name, self.lines = name, []
        self.path = os.path.join(lab.OUT, name + ".json")
        with open(self.path, "wb") as out:
            self.process = subprocess.Popen(
                ["ip", "netns", "exec", wire.receiver, lab.PERILUNE, "run", kinds.POLICY, "--json", "--set", "iface=v1",
                 "--set", "quiet=2s"], stdout=out)

    def events(self):
        with open(self.path, "rb") as file:
            data = file.read()
        return [json.loads(line) for line in data[:data.rfind(b"\n") + 1].splitlines()]

    def wait(self, what, condition):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if condition(self.events()):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        lab.fail("%s: %s has not come" % (self.name, what))

    def end(self):
        self.process.send_signal(signal.SIGINT)
        if self.process.wait(PATIENCE) != 0:
            lab.fail("%s: exit status %d" % (self.name, self.process.returncode))
        with open(self.path, "rb") as file:
            return lab.read_events(file.read(), self.name)


def live(wire, name, attack):
    """Events of a run in which these packets and ordinary ones come in."""
    last = max(f[0] for f in attack)
    frames = sorted(attack + kinds.ordinary(kinds.ZERO - 2 * lab.NS, 3 + (last - kinds.ZERO) / lab.NS), key=lambda f: f[0])
    path = lab.write_pcap(name + ".pcap", frames)
    run = Run(wire, name)
    run.wait("attach", lambda events: lab.of(events, "attach"))
    wire.send(path)
    run.wait("calm", lambda events: not lab.of(events, "transition") or lab.of(events, "transition")[-1]["to"] == "calm")
    events = run.end()
    summary = lab.of(events, "summary")[0]
    lab.equal(len(frames), summary["packets"], name + ": packets")
    lab.equal([], [e["message"] for e in lab.of(events, "error")], name + ": errors")
    before = sum(1 for f in frames if f[0] < kinds.ZERO)
    return events, before


def packets_until(events, event):
    """How many packets had come when this was decided: those of all windows up to it."""
    return sum(w["packets"] for w in lab.of(events, "window") if w["seq"] <= event["seq"])


def found(wire, name, attack, within):
    events, before = live(wire, name, attack)
    steps = lab.of(events, "transition")
    if not steps or steps[0]["from"] != "calm":
        lab.fail("%s: never left calm" % name)
    after = packets_until(events, steps[0]) - before
    if not 0 < after <= within:
        lab.fail("%s: left calm after %d packets of the attack, not within %d" % (name, after, within))
    if "siege" not in [s["to"] for s in steps]:
        lab.fail("%s: never at siege" % name)
    lab.equal("calm", steps[-1]["to"], name + ": the level in the end")
    named = {(a["set"], a["member"]): a for a in lab.of(events, "action", act="add", undo=False)}
    if ("victims", kinds.VICTIM) not in named:
        lab.fail("%s: the victim is not named: %s" % (name, sorted(named)))
    return events, before, after, named


def main():
    with Wire() as wire:
        events, before, after, named = found(wire, "flood", kinds.flood(stretch=4), 1000)
        sender = named.get(("attackers", kinds.ATTACKER))
        if not sender:
            lab.fail("flood: %s is not named" % kinds.ATTACKER)
        when = packets_until(events, sender) - before
        if when > 10000:
            lab.fail("flood: %s is named after %d packets, not within 10,000" % (kinds.ATTACKER, when))
        _, _, many, _ = found(wire, "spoofed", kinds.flood(stretch=4, edit=kinds.spoofed), 1000)
        events, _ = live(wire, "crowd", kinds.crowd(2000, 3))
        lab.equal([], [t["reason"] for t in lab.of(events, "transition")], "crowd: changes of level")
    lab.done("live: found after %d packets, the sender named after %d; from 1,000 sources after %d; a crowd stays calm" % (after,
             when, many))


main()
