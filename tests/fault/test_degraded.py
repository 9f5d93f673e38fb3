# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
# ctest: once
"""What is short or missing costs no more than it must, is said, and is over when it is over: a full disk, memory, descriptors, clang, the BPF
file system, an interface that is called something else."""

import os
import subprocess
import sys
import tempfile
import time

import killed

POLICIES = f"{killed.SOURCE}/tests/e2e/policies"
ROWS = [f"{POLICIES}/rows.lua", "--set", "iface=vb", "--set", "hook=tc.ingress", "--set", "window=20ms", "--set", "entries=1024"]
COUNT = [f"{POLICIES}/count.lua"]


def check(right, what):
    if not right:
        sys.exit(what)


def text(path):
    with open(path, encoding="utf8") as file:
        return file.read()


def run(*words, **env):
    return subprocess.run([killed.PERILUNE, *words], capture_output=True, text=True, check=False, timeout=120,
                          env={**os.environ, **env})


def full_disk(out, lab):
    """Lines wait until there is room; pinned, windows do as well. Every packet is told in the end."""
    killed.run("mkdir", f"{out}/disk")
    killed.run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", f"{out}/disk")
    with open(f"{out}/disk/ballast", "wb") as ballast:
        ballast.write(b"x" * 40960)
    before = lab.received()
    one = killed.Run(lab, f"{out}/disk/run", *ROWS, err=f"{out}/err")
    one.started()
    sender = lab.send()
    killed.wait_for(lambda: "No space left" in text(f"{out}/err"), "the disk to be full")
    time.sleep(0.3)
    one.kill()  # nothing of what was not written is gone
    os.unlink(f"{out}/disk/ballast")
    two = killed.Run(lab, f"{out}/two", *ROWS)
    two.started(windows=3)
    lab.silence(sender)
    two.stop()
    union = killed.Union([f"{out}/disk/run", f"{out}/two"])
    union.judge(lab.received() - before, probe="all")
    print(f"a full disk, and a kill: {union.packets()} packets in {len(union.windows)} windows")

    with open(f"{out}/disk/ballast", "wb") as ballast:
        ballast.write(b"x" * 20480)
    before = lab.received()
    one = killed.Run(lab, f"{out}/disk/run", *ROWS, err=f"{out}/err")
    one.started()
    sender = lab.send()
    killed.wait_for(lambda: "No space left" in text(f"{out}/err"), "the disk to be full")
    time.sleep(0.3)
    killed.run("mount", "-o", "remount,size=64m", f"{out}/disk")
    killed.wait_for(lambda: "there is room" in text(f"{out}/err"), "room")
    lab.silence(sender)
    one.stop()
    union = killed.Union([f"{out}/disk/run"])
    union.judge(lab.received() - before, probe="all")
    killed.run("umount", f"{out}/disk")
    print(f"a full disk that has room again: {union.packets()} packets in {len(union.windows)} windows")


def memory(out, lab):
    """A window that cannot be read for want of memory is read later."""
    before = lab.received()
    one = killed.Run(lab, f"{out}/memory", *ROWS, program=killed.FAULTS, env={"PERILUNE_FAULT_READS": "3"})
    killed.wait_for(lambda: one.seen("start"), "the start")
    sender = lab.send()
    one.started(windows=5)
    lab.silence(sender)
    one.stop()
    killed.Union([f"{out}/memory"]).judge(lab.received() - before, probe="all")
    said = [event for event in killed.lines(f"{out}/memory") if event["event"] == "error"]
    check(len(said) == 1 and "Cannot allocate memory" in said[0]["message"], f"memory: {said}")
    print("short of memory: said once, and nothing is lost")


def descriptors(out, lab):
    """More interfaces than there are descriptors: those that there are none for are attached to when there are."""
    policy = f"{out}/many.lua"
    with open(policy, "w", encoding="utf8") as file:
        file.write('return policy "many" { attach = { iface = "d*", hook = "tc.ingress" }, window = "100ms", '
                   'always = { counter "all" {} } }')
    path = f"{out}/many"
    with open(path, "wb") as log:
        process = lab.start(["prlimit", "--nofile=70", killed.PERILUNE, "run", policy, "--json"], stdout=log, stderr=log)
    killed.wait_for(lambda: any(event["event"] == "start" for event in killed.lines(path)), "the start")
    for i in range(60):
        killed.run("ip", "-n", lab.b, "link", "add", f"d{i}", "type", "veth", "peer", "name", f"e{i}")
    killed.wait_for(lambda: "Too many open files" in text(path), "no descriptor to be left")

    def attached():
        state = {}
        for event in killed.lines(path):
            if event["event"] in ("attach", "detach"):
                state[event["iface"]] = event["event"] == "attach"
        return {name for name, there in state.items() if there}

    check(len(attached()) < 60, "all have a descriptor")
    for i in range(0, 40):
        killed.run("ip", "-n", lab.b, "link", "del", f"d{i}")
    wanted = {f"d{i}" for i in range(40, 60)}
    killed.wait_for(lambda: attached() == wanted, "the others to be attached to")
    process.terminate()
    check(process.wait(60) == 0, f"descriptors: exit status {process.returncode}")
    print("short of descriptors: attached to all once there are enough")
    for number in (12, 24):
        done = subprocess.run(["prlimit", f"--nofile={number}", killed.PERILUNE, "check", policy], capture_output=True,
                              text=True, check=False, timeout=60)
        check(done.returncode and "Too many open files" in done.stderr, f"{number} descriptors: {done.stderr}")


def no_clang(out):
    """What was compiled before needs none; the rest says what is missing."""
    here = {"PERILUNE_CACHE": f"{out}/cache", "PATH": "/nonexistent"}
    words = ["check", "--no-cost", *COUNT, "--set", "iface=lo"]
    done = run(*words, **here)
    check(done.returncode and "there is no clang in PATH" in done.stderr, f"without clang: {done.stderr}")
    check(run(*words, PERILUNE_CACHE=f"{out}/cache").returncode == 0, "with clang")
    done = run(*words, **here)
    check(done.returncode == 0, f"without clang, from the cache: {done.stderr}")
    check(run(*words, PERILUNE_CACHE=f"{out}/cache", PERILUNE_CLANG="/nonexistent/clang").returncode == 0, "no such clang")
    print("clang is missing: what is cached runs")


def renamed(out, lab):
    """An interface that is called something else when the next process comes is not the one that was meant."""
    words = [f"{out}/glob.lua"]
    with open(words[0], "w", encoding="utf8") as file:
        file.write('return policy "glob" { attach = { iface = "v*", hook = "tc.ingress" }, window = "50ms", '
                   'always = { counter "all" {} } }')
    one = killed.Run(lab, f"{out}/glob-1", *words)
    one.started(windows=2)
    one.kill()
    killed.run("ip", "-n", lab.b, "link", "set", "vb", "name", "zb")
    two = killed.Run(lab, f"{out}/glob-2", *words)
    two.started(windows=2)
    show = ["nsenter", f"--net=/run/netns/{lab.b}", "bpftool", "net", "show", "dev", "zb"]
    killed.wait_for(lambda: "zb(" not in subprocess.check_output(show, text=True), "it to be left")
    killed.run("ip", "-n", lab.b, "link", "set", "zb", "name", "vb")
    killed.wait_for(lambda: two.seen("attach"), "it to be attached to again")
    two.stop()
    killed.nothing_left(lab)
    print("renamed meanwhile: left, and attached to once it has its name")


def no_bpffs(lab):
    killed.run("umount", killed.os.path.dirname(killed.PINS))
    done = subprocess.run(["nsenter", f"--net=/run/netns/{lab.b}", killed.PERILUNE, "run", *ROWS, "--pin"],
                          capture_output=True, text=True, check=False, timeout=60)
    check(done.returncode == 3 and "mount -t bpf -o mode=0700 bpf /sys/fs/bpf" in done.stderr, f"{done.returncode} {done.stderr}")
    print("no BPF file system: said, with what to do")


def no_btf(out):
    """A kernel without its BTF, as far as a process can see: what names a kernel's function is not loaded there."""
    policy = killed.os.path.join(out, "xdp.lua")
    with open(policy, "w") as file:
        file.write('return policy "x" { attach = { iface = "lo", hook = "xdp" }, always = { counter "all" {} } }\n')
    done = subprocess.run(["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$0" check --no-cost "$1"',
                           killed.PERILUNE, policy], capture_output=True, text=True, check=False, timeout=60)
    check(done.returncode == 0 and "verified" in done.stdout, f"{done.returncode} {done.stdout} {done.stderr}")
    print("no BTF of the kernel: XDP programs do without what is found by it")


def main():
    killed.own_mounts()
    with tempfile.TemporaryDirectory() as out, killed.Lab("perilune-short") as lab:
        no_clang(out)
        no_btf(out)
        full_disk(out, lab)
        memory(out, lab)
        renamed(out, lab)
        descriptors(out, lab)
        no_bpffs(lab)


main()
