# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 900
"""The daemon as a service: what it tells its manager, here a socket of the test's own, and the rights that it keeps, as the kernel
has them. The unit is held against systemd's own checker."""
import os
import shutil
import signal
import socket
import subprocess

from serve import COUNT, PATIENCE, SOURCE, Daemon, equal, fail, main, until

BUILD = os.environ["PERILUNE_BUILD"]
RIGHTS = {"bpf": 39, "net_admin": 12, "perfmon": 38, "sys_admin": 21, "sys_module": 16, "setuid": 7, "sys_boot": 22}
OWN = sum(1 << RIGHTS[name] for name in ("bpf", "net_admin", "perfmon"))


class Manager:
    """Gets what a service tells; the address is a path, or a name of the abstract namespace."""

    def __init__(self, world, address):
        self.address = address
        self.socket = world.there(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))  # whose namespace has names of its own
        self.socket.bind("\0" + address[1:] if address[0] == "@" else address)
        self.socket.settimeout(PATIENCE)
        world.closers.append(self.socket.close)

    def env(self, **more):
        return dict(more, NOTIFY_SOCKET=self.address)

    def expect(self, word):
        """The first message with this line; what comes before may be only of these kinds."""
        while True:
            lines = self.socket.recv(4096).decode().split("\n")
            if any(line.startswith(word) for line in lines):
                return lines
            if not all(line.startswith(("WATCHDOG=1", "STATUS=")) for line in lines):
                fail("waited for %s, was told %r" % (word, lines))


def rights(pid):
    with open("/proc/%d/status" % pid) as file:
        fields = dict(line.split(":\t") for line in file.read().splitlines() if line.startswith("Cap"))
    return {name: int(value, 16) for name, value in fields.items()}


def tells_its_manager(world):
    for address in world.path("notify"), "@perilune-test-%d" % os.getpid():
        manager = Manager(world, address)
        daemon = Daemon(world, world.write("count.lua", COUNT % ""), name="d" + str(len(world.daemons)),
                        env=manager.env(WATCHDOG_USEC="400000"))
        ready = manager.expect("READY=1")
        equal("running", daemon.policy("count")["state"], "the policy once it is ready")
        equal(["STATUS=1 policy"], ready[1:], "how it stands")
        for _ in range(3):
            manager.expect("WATCHDOG=1")
        # Policies' processes do not speak for the daemon.
        with open("/proc/%d/environ" % daemon.children()[0]) as file:
            told = [word for word in file.read().split("\0") if word.startswith(("NOTIFY_SOCKET", "WATCHDOG"))]
        equal([], told, "what a policy's process inherits")
        os.kill(daemon.pid(), signal.SIGHUP)
        reloading = manager.expect("RELOADING=1")
        if not any(line.startswith("MONOTONIC_USEC=") for line in reloading):
            fail("a reload without its time: %r" % reloading)
        manager.expect("READY=1")
        equal(201, daemon.ask("PUT", "/v1/policies/other", body=COUNT % "", kind="text/x-lua").status, "another policy")
        if "STATUS=2 policies" not in manager.expect("STATUS=2"):
            fail("the status of two policies")
        equal(204, daemon.ask("DELETE", "/v1/policies/other").status, "its end")
        os.kill(daemon.pid(), signal.SIGTERM)
        manager.expect("STOPPING=1")
        equal(0, daemon.stop(), "the exit status")
    # One that fails is no reason to wait for ever; and without a watchdog nothing is told of it.
    manager = Manager(world, world.path("notify2"))
    daemon = Daemon(world, world.write("bad.lua", "return 1"), name="bad", env=manager.env())
    equal(["READY=1", "STATUS=1 policy, 1 failed"], manager.expect("READY=1"), "ready with a failure")
    equal(0, daemon.stop(), "the exit status")
    equal(["STOPPING=1"], manager.expect("STOPPING=1"), "the last word")


def a_hung_one_is_silent(world):
    manager = Manager(world, world.path("notify"))
    daemon = Daemon(world, env=manager.env(WATCHDOG_USEC="200000"))
    manager.expect("READY=1")
    manager.expect("WATCHDOG=1")
    os.kill(daemon.pid(), signal.SIGSTOP)
    with open("/proc/%d/stat" % daemon.pid()) as file:
        until(lambda: file.seek(0) or file.read().rsplit(")", 1)[1].split()[0] == "T", "it to be stopped")
    manager.socket.setblocking(False)
    try:
        while True:
            manager.socket.recv(4096)
    except BlockingIOError:
        pass
    manager.socket.settimeout(1)
    try:
        fail("a stopped daemon says %r" % manager.socket.recv(4096))
    except TimeoutError:
        pass
    os.kill(daemon.pid(), signal.SIGCONT)
    manager.socket.settimeout(PATIENCE)
    manager.expect("WATCHDOG=1")
    equal(0, daemon.stop(), "the exit status")


def lays_down_rights(world):
    """As root: the daemon keeps three, a policy's process has what policies may need, and counting goes on."""
    daemon = Daemon(world, world.write("count.lua", COUNT % ""))
    daemon.wait_for("count")
    own = rights(daemon.pid())
    equal((OWN, OWN), (own["CapEff"], own["CapPrm"]), "the daemon's rights")
    child = rights(daemon.children()[0])
    equal(OWN | 1 << RIGHTS["sys_admin"], child["CapEff"] & (OWN | 1 << RIGHTS["sys_admin"]), "a policy's rights")
    for name in "sys_module", "setuid", "sys_boot":
        for who in own, child:
            equal(0, who["CapBnd"] >> RIGHTS[name] & 1, name)
    world.send(100)
    until(lambda: sum(w["packets"] for w in daemon.get("/v1/policies/count/windows?limit=256")["windows"]) == 100, "the packets")
    equal(201, daemon.ask("PUT", "/v1/policies/later", body=COUNT % "", kind="text/x-lua").status, "a policy that comes later")
    equal(0, daemon.stop(), "the exit status")


def runs_as_its_own_user(world):
    """With the rights of the unit and no others, as a user that has no file of root's."""
    names = "-all,+bpf,+net_admin,+perfmon"
    home = world.path("home")
    os.mkdir(home)
    policy = world.path("home/count.lua")
    with open(policy, "w") as file:
        file.write(COUNT % "")
    os.chmod(world.directory, 0o755)
    subprocess.run(["chown", "-R", "65534", home], check=True)
    daemon = Daemon(world, policy, "--listen", "unix:" + home + "/d.sock", name="home/d", program=world.for_anybody(),
                    env={"PERILUNE_STATE": home + "/state", "PERILUNE_CACHE": home + "/cache", "HOME": home},
                    before=["setpriv", "--reuid", "65534", "--clear-groups", "--inh-caps", names, "--ambient-caps", names,
                            "--bounding-set", names, "--no-new-privs"])
    daemon.wait_for("count")
    for pid in daemon.pid(), daemon.children()[0]:
        have = rights(pid)
        equal((OWN, OWN, OWN), (have["CapEff"], have["CapPrm"], have["CapBnd"]), "the rights of process %d" % pid)
    world.send(100)
    until(lambda: sum(w["packets"] for w in daemon.get("/v1/policies/count/windows?limit=256")["windows"]) == 100, "the packets")
    equal(0, daemon.stop(), "the exit status")


def its_unit_is_one(world):
    with open(BUILD + "/perilune.service") as file:
        text = file.read()
    if "@PERILUNE" in text:
        fail("what was to be put in is not: " + text)
    if not shutil.which("systemd-analyze"):
        fail("systemd-analyze is missing (sh examples/setup.sh test)")
    here = world.path("perilune.service")
    with open(here, "w") as file:  # the program is not installed here, nor is man
        file.writelines("ExecStart=/bin/true\n" if line.startswith("ExecStart=") else "ExecReload=/bin/true\n"
                        if line.startswith("ExecReload=") else "" if line.startswith("Documentation=") else line
                        for line in text.splitlines(keepends=True))
    done = subprocess.run(["systemd-analyze", "verify", here], capture_output=True, text=True, check=False)
    equal((0, ""), (done.returncode, done.stderr), "what systemd has to say of the unit")
    done = subprocess.run([os.environ["PERILUNE"], "check", SOURCE + "/packaging/daemon.lua"], capture_output=True, text=True, check=False)
    equal((0, ""), (done.returncode, done.stderr), "the check of the example's configuration")


if __name__ == "__main__":
    main(tells_its_manager, a_hung_one_is_silent, lays_down_rights, runs_as_its_own_user, its_unit_is_one)
