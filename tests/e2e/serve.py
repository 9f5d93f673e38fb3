# SPDX-License-Identifier: Apache-2.0
"""What the tests of the daemon share: a namespace with a veth pair, a daemon in it, and HTTP by hand over its socket.

A test ends with `main(function, …)`: each gets a fresh World, and whatever happens, its processes, namespaces and files are gone
afterwards. Nothing here waits for a time, but for what is answered or told.
"""
import ctypes
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

PERILUNE = os.environ["PERILUNE"]
SOURCE = os.environ["PERILUNE_SOURCE"]
SANITIZE = bool(os.environ.get("PERILUNE_SANITIZE"))
PATIENCE = 60
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)

COUNT = """local iface = option "iface" { default = "vb", type = "iface" }
local hook = option "hook" { default = "tc.ingress", one_of = { "xdp", "tc.ingress", "tc" } }
local window = option "window" { default = "100ms" }
return policy "count" {
  attach = { iface = iface, hook = hook }, window = window,
  always = { counter "totals" {} },
  levels = { level "calm" {}, level "deep" { flows "to" { key = "dst" } } },
  %s
}
"""


def fail(text):
    raise AssertionError(text)


def equal(expected, actual, what):
    if expected != actual:
        fail("%s: expected %r, got %r" % (what, expected, actual))


def until(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            fail("waited %d s for %s" % (seconds, what))
        time.sleep(0.02)


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        fail("%s: %s" % (" ".join(words), done.stderr.strip()))
    return done.stdout


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "%d %r" % (self.status, self.body[:300])


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    """perilune serve, with everything of its own in one directory."""

    def __init__(self, world, *words, name="daemon", wait=True, env=None, before=(), program=PERILUNE):
        self.world, self.socket = world, world.path(name + ".sock")
        self.log_path, self.words = world.path(name + ".log"), words
        # At the end, so that what a restart tells is told from what was before.
        self.log = open(self.log_path, "ab")
        self.begin = self.log.tell()
        here = dict(os.environ, **dict({"PERILUNE_STATE": world.path("state")}, **(env or {})))
        listen = [] if any(word.startswith("--listen") or word.startswith("--config") for word in words) else \
            ["--listen", "unix:" + self.socket]
        self.process = subprocess.Popen(["ip", "netns", "exec", world.netns, *before, program, "serve", "--log", "debug:json", *listen, *words],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=here)
        world.daemons.append(self)
        if wait:
            # At all that the command line names: each says so by itself, and the next may not be there yet.
            places = max([len(words[i + 1].split(",")) for i, word in enumerate(words) if word == "--listen"], default=1)
            until(lambda: len(self.said("listening")) >= places or self.process.poll() is not None, "the daemon to listen")
            if self.process.poll() is not None:
                fail("the daemon ended: " + self.text())

    def text(self):
        with open(self.log_path, "rb") as file:
            file.seek(self.begin)
            return file.read().decode(errors="replace")

    def lines(self):
        return [json.loads(line) for line in self.text().splitlines() if line.startswith("{") and line.endswith("}")]

    def said(self, message):
        return [line for line in self.lines() if line.get("message") == message]

    def connection(self, timeout=PATIENCE):
        return UnixConnection(self.socket, timeout)

    def ask(self, method, path, body=None, kind=None, headers=None, connection=None):
        one = connection or self.connection()
        sent = dict(headers or {})
        if isinstance(body, (dict, list)):
            body, kind = json.dumps(body), kind or "application/json"
        if kind:
            sent["Content-Type"] = kind
        try:
            one.request(method, path, body=body, headers=sent)
            answer = one.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            if not connection:
                one.close()

    def get(self, path, **more):
        answer = self.ask("GET", path, **more)
        if answer.status != 200:
            fail("GET %s: %r" % (path, answer))
        return answer.json()

    def policy(self, name):
        return self.get("/v1/policies/" + name)

    def wait_for(self, name, state="running"):
        return until(lambda: next((p for p in self.get("/v1/policies")["policies"] if p["name"] == name and p["state"] == state), None),
                     "policy %s to be %s" % (name, state))

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            os.kill(self.pid(), how)
        status = self.process.wait(PATIENCE)
        self.log.close()
        return status

    def pid(self):
        """`ip netns exec` becomes the program it starts."""
        return self.process.pid

    def children(self):
        with open("/proc/%d/task/%d/children" % (self.pid(), self.pid())) as file:
            return [int(pid) for pid in file.read().split()]


class World:
    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="perilune-serve.")
        self.netns = "perilune-serve-%d" % os.getpid()
        self.daemons = []
        self.closers = []

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o600)
        return path

    def up(self):
        """va --- vb, both in the namespace, without traffic of their own."""
        run("ip", "netns", "add", self.netns)
        self.inside("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        run("ip", "-n", self.netns, "link", "set", "lo", "up")
        run("ip", "-n", self.netns, "link", "add", "va", "type", "veth", "peer", "name", "vb")
        for name in "va", "vb":
            run("ip", "-n", self.netns, "link", "set", name, "arp", "off", "up")

    def for_anybody(self):
        """A perilune that any user can run: the source tree may be where only root gets."""
        prefix = tempfile.mkdtemp(prefix="perilune-anybody.")
        self.closers.append(lambda: shutil.rmtree(prefix))
        os.chmod(prefix, 0o755)
        run("cmake", "--install", os.environ["PERILUNE_BUILD"], "--prefix", prefix)
        return prefix + "/bin/perilune"

    def inside(self, *words, **more):
        return run("ip", "netns", "exec", self.netns, *words, **more)

    def there(self, fn):
        """What fn() gives, called in the namespace: sockets that it makes stay there."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open("/run/netns/" + self.netns, os.O_RDONLY)
        try:
            equal(0, libc.setns(there, CLONE_NEWNET), "setns")
            return fn()
        finally:
            libc.setns(home, CLONE_NEWNET)
            os.close(home)
            os.close(there)

    def send(self, count, destination="192.0.2.2", sport=1024):
        """UDP out of va, which vb gets."""
        head = bytes.fromhex("020000000002" "020000000001" "0800" "4500002e000040004011" "0000" "c0000201")
        frame = head + socket.inet_aton(destination) + bytes([sport >> 8, sport & 255]) + bytes.fromhex("0009" "001a" "0000") + bytes(18)

        def out():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
                link.bind(("va", 0))
                for _ in range(count):
                    link.send(frame)
        before = self.received()
        self.there(out)
        until(lambda: self.received() - before >= count, "the frames to arrive")

    def received(self):
        return int(self.inside("cat", "/sys/class/net/vb/statistics/rx_packets"))

    def attached(self):
        shown = self.inside("bpftool", "-j", "net", "show", "dev", "vb")
        return [part for kind in ("xdp", "tc") for part in json.loads(shown)[0].get(kind, [])]

    def close(self, failed):
        for closer in self.closers:
            closer()
        for daemon in self.daemons:
            if failed:
                told = [line for line in daemon.text().splitlines() if '"request"' not in line or '"warn"' in line]
                sys.stderr.write("--- the end of %s\n%s\n" % (daemon.log_path, "\n".join(told)[-4000:]))
            if daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait()
        subprocess.run(["ip", "netns", "del", self.netns], check=False, capture_output=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def main(*tests):
    bad = 0
    for test in tests:
        world, failed = World(), True
        begin = time.monotonic()
        try:
            world.up()
            test(world)
            failed = False
        except Exception:  # pylint: disable=broad-except
            traceback.print_exc()
            bad += 1
        finally:
            world.close(failed)
        print("%s  %s  %.1f s" % ("FAILED" if failed else "ok", test.__name__, time.monotonic() - begin), flush=True)
    sys.exit(1 if bad else 0)
