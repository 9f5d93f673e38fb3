# SPDX-License-Identifier: Apache-2.0
# ctest: serial
# ctest: timeout 900
"""Interfaces that come and go while a policy runs: by name, list and glob, in other namespaces, by the thousand.

Every test sends a known number of frames through interfaces that were said to be attached, and holds the policy's rows, one for each
interface, against it. Nothing else sends there: the interfaces have no addresses. No test waits for a time, but for what is told or
counted.
"""
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

PERILUNE = os.environ["PERILUNE"]
SOURCE = os.environ["PERILUNE_SOURCE"]
POLICY = """-- What came through each interface.
return policy "interfaces" {
  attach = { %s },
  window = "100ms",
  always = { counter "totals" {}, flows "each" { key = "interface", entries = 16384 } },
}
"""
SANITIZE = bool(os.environ.get("PERILUNE_SANITIZE"))
NETNS = "perilune-if-%d" % os.getpid()
PATIENCE = 60
CLONE_NEWNET = 0x40000000

# Under the sanitizers each pair takes the same way as the one before, and memory is not judged: fewer show the same.
PAIRS, BATCH, BUSY = 200 if SANITIZE else 1000, 50, 10

# To nobody: UDP from a documentation address to another, so that nothing answers.
FRAME = bytes.fromhex("020000000002" "020000000001" "0800" "4500002e000040004011" "0000" "c0000201" "c0000202"
                      "0400" "0009" "001a" "0000") + bytes(18)

libc = ctypes.CDLL(None, use_errno=True)


def fail(text):
    raise AssertionError(text)


def equal(expected, actual, what):
    if expected != actual:
        fail("%s: expected %s, got %s" % (what, expected, actual))


def until(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            fail("waited %d s for %s" % (seconds, what))
        time.sleep(0.01)


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, **more)
    if done.returncode:
        fail("%s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout


def batch(netns, lines):
    run("ip", "-n", netns, "-batch", "-", input="\n".join(lines) + "\n")


class Namespace:
    """A network namespace without traffic of its own."""

    def __init__(self, name):
        self.name = name
        run("ip", "netns", "add", name)
        self.inside("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")

    def inside(self, *words, **more):
        return run("ip", "netns", "exec", self.name, *words, **more)

    def index(self, name):
        links = json.loads(run("ip", "-n", self.name, "-j", "link", "show", "dev", name))
        return links[0]["ifindex"]

    def pair(self, name, peer, index=None):
        batch(self.name, ["link add %s %s type veth peer name %s" % (name, "index %d" % index if index else "", peer),
                          "link set %s up" % name, "link set %s up" % peer])
        return self.index(name)

    def send(self, name, count):
        """Puts frames on `name`, and returns when none of them waits for the hooks of the other end any more."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open("/run/netns/" + self.name, os.O_RDONLY)
        try:
            equal(0, libc.setns(there, CLONE_NEWNET), "setns")
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
                out.bind((name, 0))
                for _ in range(count):
                    out.send(FRAME)
        finally:
            libc.setns(home, CLONE_NEWNET)
            os.close(home)
            os.close(there)

    def remove(self):
        subprocess.run(["ip", "netns", "del", self.name], check=False, capture_output=True)


def idle():
    """No packet waits in the backlog of a CPU."""
    with open("/proc/net/softnet_stat", encoding="ascii") as file:
        return all(int(line.split()[11], 16) == 0 for line in file)


class Run:
    """A perilune of one test, in a namespace, attached as `attach` says."""

    def __init__(self, directory, name, netns, attach):
        policy = os.path.join(directory, name + ".lua")
        with open(policy, "w", encoding="utf-8") as file:
            file.write(POLICY % attach)
        self.path = os.path.join(directory, name)
        self.read_at = 0
        self.ending = False
        self.events = []
        with open(self.path, "wb") as out, open(self.path + ".err", "wb") as err:
            self.process = subprocess.Popen(["ip", "netns", "exec", netns.name, PERILUNE, "run", policy, "--json"], stdout=out,
                                            stderr=err, stdin=subprocess.DEVNULL)
        self.pid = self.process.pid

    def look(self):
        """The events so far."""
        with open(self.path, "rb") as file:
            file.seek(self.read_at)
            text = file.read()
        whole = text[:text.rfind(b"\n") + 1]
        self.read_at += len(whole)
        self.events += [json.loads(line) for line in whole.splitlines()]
        if self.process.poll() is not None and not whole and not self.ending:
            fail("perilune ended with %d: %s" % (self.process.returncode, self.errors()))
        return self.events

    def errors(self):
        with open(self.path + ".err", encoding="utf-8") as file:
            return file.read()

    def of(self, name):
        return [event for event in self.look() if event["event"] == name]

    def attached(self, index, hooks=2, times=1):
        until(lambda: len([e for e in self.of("attach") if e["ifindex"] == index]) >= hooks * times,
              "attach events of index %d" % index)

    def detached(self, index, hooks=2, times=1):
        until(lambda: len([e for e in self.of("detach") if e["ifindex"] == index]) >= hooks * times,
              "detach events of index %d" % index)

    def started(self):
        until(lambda: self.of("start"), "the start")

    def descriptors(self):
        return len(os.listdir("/proc/%d/fd" % self.pid))

    def links(self):
        count = 0
        for fd in os.listdir("/proc/%d/fdinfo" % self.pid):
            try:
                with open("/proc/%d/fdinfo/%s" % (self.pid, fd), encoding="ascii") as file:
                    count += "link_id:" in file.read()
            except OSError:
                pass
        return count

    def resident(self):
        with open("/proc/%d/status" % self.pid, encoding="ascii") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

    def dropped(self):
        """Messages that the kernel had no room for in a netlink socket of this process."""
        with open("/proc/%d/net/netlink" % self.pid, encoding="ascii") as file:
            inodes = [os.readlink("/proc/%d/fd/%s" % (self.pid, fd)) for fd in os.listdir("/proc/%d/fd" % self.pid)]
            ours = [line.split() for line in list(file)[1:]]
        return sum(int(words[8]) for words in ours if "socket:[%s]" % words[9] in inodes)

    def windows(self, more=3):
        """Until that many windows have ended since."""
        before = len(self.of("window"))
        until(lambda: len(self.of("window")) >= before + more, "windows")

    def stop(self, signum=signal.SIGINT, status=0):
        self.ending = True
        self.process.send_signal(signum)
        self.process.wait(PATIENCE)
        self.look()
        if self.process.returncode != status:
            fail("exit status %s: %s" % (self.process.returncode, self.errors()))
        if status == 0:
            run("/usr/bin/python3", os.path.join(SOURCE, "tests", "e2e", "schema.py"), self.path)

    def rows(self):
        """Packets by the name of the interface, over all windows."""
        counts = {}
        for event in self.of("records"):
            if event["probe"] != "each":
                continue
            equal(0, sum(event["loss"].values()), "the loss")
            for row in event["rows"]:
                counts[row["ifindex"]] = counts.get(row["ifindex"], 0) + row["packets"]
        return counts

    def counted(self, sent):
        """Exactly what was sent, interface by interface and in all."""
        equal({k: v for k, v in sent.items() if v}, self.rows(), "packets by interface")
        equal(sum(sent.values()), self.of("summary")[0]["packets"], "the packets of the summary")
        equal(sum(sent.values()), sum(event["packets"] for event in self.of("window")), "the packets of the windows")

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def thousand(directory, netns):
    watch = Run(directory, "thousand", netns, 'iface = "ve*"')
    watch.started()
    sent = {}

    def round_of(first, count, busy):
        names = range(first, first + count)
        lines = []
        for n in names:
            lines += ["link add ve%d group 7 type veth peer name pe%d" % (n, n), "link set ve%d up" % n,
                      "link set pe%d up" % n]
        batch(netns.name, lines)
        links = json.loads(run("ip", "-n", netns.name, "-j", "link", "show", "group", "7"))
        index = {link["ifname"]: link["ifindex"] for link in links if link}
        for n in list(names)[::max(1, count // busy)]:
            at = index["ve%d" % n]
            watch.attached(at)
            sent["ve%d" % n] = 1 + n % 97
            netns.send("pe%d" % n, sent["ve%d" % n])
        until(idle, "empty backlogs")
        batch(netns.name, ["link del group 7"])

    # Once, so that what is only made at the first time is there.
    round_of(1, BATCH, BUSY)
    until(lambda: watch.links() == 0, "the end of the links")
    watch.windows()
    descriptors, resident = watch.descriptors(), watch.resident()
    began = time.monotonic()
    for first in range(BATCH + 1, PAIRS + BATCH, BATCH):
        round_of(first, BATCH, BUSY)
    took = time.monotonic() - began
    until(lambda: watch.links() == 0, "the end of the links")
    watch.windows()
    until(lambda: watch.descriptors() == descriptors, "as many descriptors as before (%d, there are %d)" %
          (descriptors, watch.descriptors()))
    grown = watch.resident() - resident
    if grown > 16384 and not SANITIZE:
        fail("it has grown by %d KiB" % grown)
    watch.stop()
    equal([], watch.of("error"), "the errors")
    equal(len(watch.of("attach")), len(watch.of("detach")), "the detach events")
    watch.counted(sent)
    print("%d pairs came and went, the last %d in %.1f s; %d were attached; %d packets on %d of them, each counted; %d descriptors as before, "
          "%+d KiB" % (PAIRS + BATCH, PAIRS, took, len(watch.of("attach")) // 2, sum(sent.values()), len(sent), descriptors, grown))


def names(directory, netns):
    """A name that goes and comes again, names that change, a list."""
    first = netns.pair("lan", "plan")
    watch = Run(directory, "names", netns, 'iface = { "lan", "w[0-9]" }')
    watch.attached(first)
    netns.send("plan", 3)
    until(idle, "empty backlogs")
    run("ip", "-n", netns.name, "link", "del", "lan")
    watch.detached(first)
    second = netns.pair("lan", "plan")
    watch.attached(second)
    netns.send("plan", 5)

    # Out of what matches and back into it; from one name that matches to another without a packet that is not counted.
    other = netns.pair("x1", "px1")
    netns.send("px1", 7)
    batch(netns.name, ["link set x1 down", "link set x1 name w1", "link set w1 up"])
    watch.attached(other)
    netns.send("px1", 11)
    batch(netns.name, ["link set w1 down", "link set w1 name w2", "link set w2 up"])
    watch.attached(other, times=2)
    netns.send("px1", 13)
    until(idle, "empty backlogs")
    batch(netns.name, ["link set w2 down", "link set w2 name x2", "link set x2 up"])
    watch.detached(other, times=2)
    netns.send("px1", 17)
    until(idle, "empty backlogs")
    watch.stop()
    rows = watch.rows()
    equal(8, rows.pop("lan"), "packets of two interfaces of one name")
    equal(24, sum(rows.values()), "packets under two names")
    equal(32, watch.of("summary")[0]["packets"], "packets in all")
    said = [(e["event"], e["iface"]) for e in watch.look() if e["event"] in ("attach", "detach") and e["hook"] == "tc.ingress"]
    equal([("attach", "lan"), ("detach", "lan"), ("attach", "lan"), ("attach", "w1"), ("detach", "w1"), ("attach", "w2"),
           ("detach", "w2"), ("detach", "lan")], said, "what was said")
    equal([{"iface": "lan", "ifindex": second}], [{k: e[k] for k in ("iface", "ifindex")} for e in
                                                  watch.of("summary")[0]["detached"][:1]], "what was attached at the end")
    batch(netns.name, ["link del lan", "link del x2"])
    print("names that go, come and change: each counted while it matched")


def namespaces(directory, netns):
    """Interfaces of another namespace, which goes and comes again; perilune itself stays in its own."""
    for mode in ("auto", "clsact"):
        there = Namespace("%s-b" % NETNS)
        try:
            index = there.pair("out", "pout")
            watch = Run(directory, "netns-" + mode, netns,
                        'iface = "out", netns = "%s", mode = "%s"' % (there.name, mode))
            watch.attached(index)
            equal({there.name}, {e["netns"] for e in watch.of("attach")}, "the namespace")
            there.send("pout", 19)
            until(idle, "empty backlogs")
            there.remove()
            until(lambda: watch.of("error"), "word of the namespace's end")
            watch.detached(index)
            equal(0, watch.links(), "the links after its end")
            there = Namespace(there.name)
            again = there.pair("out", "pout", 4711)
            watch.attached(again)
            there.send("pout", 23)
            until(idle, "empty backlogs")
            watch.stop()
            watch.counted({"out": 42})
            left = there.inside("tc", "qdisc", "show", "dev", "out") + there.inside("bpftool", "net", "show", "dev", "out")
            if "clsact" in left or "perilune" in left or "root" in left.replace("noqueue 0: root", ""):
                fail("left in the namespace: " + left)
        finally:
            there.remove()
    print("interfaces of another namespace, which goes and comes again, by TCX and by clsact")


def lost(directory, netns):
    """More changes than the kernel keeps for us; one interface is replaced by another with its index and name meanwhile."""
    stays = netns.pair("ve-stays", "p-stays")
    gone = netns.pair("ve-gone", "p-gone")
    same = netns.pair("ve-same", "p-same", 900001)
    watch = Run(directory, "lost", netns, 'iface = "ve*"')
    for index in (stays, gone, same):
        watch.attached(index)
    os.kill(watch.pid, signal.SIGSTOP)
    run("ip", "-n", netns.name, "link", "del", "ve-gone")
    run("ip", "-n", netns.name, "link", "del", "ve-same")
    rounds = 0
    while watch.dropped() == 0:
        rounds += 1
        if rounds > 50:
            fail("no message was lost")
        batch(netns.name, ["link add ve%d group 7 type veth peer name pe%d" % (n, n) for n in range(100)] + ["link del group 7"])
    netns.pair("ve-same", "p-same", 900001)
    comes = netns.pair("ve-comes", "p-comes")
    os.kill(watch.pid, signal.SIGCONT)
    watch.attached(comes)
    watch.attached(same, times=2)
    watch.detached(gone)
    sent = {"ve-stays": 29, "ve-same": 31, "ve-comes": 37}
    netns.send("p-stays", 29)
    netns.send("p-same", 31)
    netns.send("p-comes", 37)
    until(idle, "empty backlogs")
    equal(6, watch.links(), "the links")
    watch.stop()
    watch.counted(sent)
    equal(3, len([e for e in watch.of("attach") if e["hook"] == "tc.ingress" and e["iface"] in ("ve-same", "ve-comes")]),
          "attach events of what is new")
    batch(netns.name, ["link del ve-stays", "link del ve-same", "link del ve-comes"])
    print("%d × 100 pairs while nobody read: what was lost was found again" % rounds)


def refused(directory, netns):
    """One interface of a glob that will not have us does not end the run, and is tried again when it changes."""
    taken, free = netns.pair("ve-taken", "p-taken"), netns.pair("ve-free", "p-free")
    first = Run(directory, "first", netns, 'iface = "ve-taken", hook = "xdp"')
    first.attached(taken, hooks=1)
    watch = Run(directory, "refused", netns, 'iface = "ve*", hook = "xdp"')
    watch.attached(free, hooks=1)
    until(lambda: watch.of("error"), "the error")
    first.stop()
    netns.send("p-free", 41)
    batch(netns.name, ["link set ve-taken mtu 1400"])
    watch.attached(taken, hooks=1)
    netns.send("p-taken", 43)
    until(idle, "empty backlogs")
    watch.stop()
    equal(1, len(watch.of("error")), "errors")
    if "ve-taken already has the XDP program" not in watch.of("error")[0]["message"]:
        fail("it said: " + watch.of("error")[0]["message"])
    watch.counted({"ve-free": 41, "ve-taken": 43})
    batch(netns.name, ["link del ve-taken", "link del ve-free"])
    print("one that is taken: an error, and tried again when it changes")


def absent(directory, netns):
    """A name that is not there is an error, unless it is waited for."""
    watch = Run(directory, "absent", netns, 'iface = "later"')
    watch.process.wait(PATIENCE)
    if watch.process.returncode != 2 or "there is no interface later" not in watch.errors():
        fail("it ended with %d: %s" % (watch.process.returncode, watch.errors()))
    watch = Run(directory, "waiting", netns, 'iface = "later", wait = true')
    watch.started()
    index = netns.pair("later", "p-later")
    watch.attached(index)
    netns.send("p-later", 47)
    until(idle, "empty backlogs")
    watch.stop()
    watch.counted({"later": 47})
    killed = Run(directory, "killed", netns, 'iface = "lat*"')
    killed.attached(index)
    killed.stop(signal.SIGKILL, -signal.SIGKILL)
    until(lambda: "root" not in netns.inside("bpftool", "net", "show", "dev", "later").replace("flow_dissector", ""),
          "an interface without programs")
    batch(netns.name, ["link del later"])
    print("a name that is not there yet; nothing is left after SIGKILL")


def main():
    wanted = sys.argv[1:]
    netns = Namespace(NETNS)
    runs = []
    made = Run.__init__

    def remember(self, *words, **more):
        made(self, *words, **more)
        runs.append(self)

    Run.__init__ = remember
    with tempfile.TemporaryDirectory(prefix="perilune-test.") as directory:
        try:
            for test in (names, absent, refused, namespaces, lost, thousand):
                if not wanted or test.__name__ in wanted:
                    test(directory, netns)
        except AssertionError as failure:
            print("FAILED: %s" % failure, file=sys.stderr)
            for one in runs[-1:]:
                print("--- the end of %s\n%s" % (one.path, "".join(open(one.path, encoding="utf-8").readlines()[-8:])), file=sys.stderr)
                print(one.errors(), file=sys.stderr)
            return 1
        finally:
            for one in runs:
                one.kill()
            netns.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
