# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
# ctest: once
"""run --pin, killed between any two stores of the ledger; what goes on of level and lease; what is refused; and what is left."""

import glob
import os
import subprocess
import sys
import tempfile
import time

import killed

POLICIES = f"{killed.SOURCE}/tests/e2e/policies"
ROWS = [f"{POLICIES}/rows.lua", "--set", "iface=vb", "--set", "hook=tc.ingress", "--set", "window=30ms", "--set", "entries=1024"]

# Where it is killed, and whether the window is then told twice.
PLACES = {"intended": False, "flipped": False, "quiet": False, "read": False, "written": True, "exported": False,
          "cleared": False, "cleaned": False}


def check(right, what):
    if not right:
        sys.exit(what)


def states(out, lab):
    """The counts are judged by the kernel's, so traffic begins once the first run is there."""
    for place, twice in PLACES.items():
        paths = [f"{out}/{place}-1", f"{out}/{place}-2"]
        before = lab.received()
        # It dies at the 25th time: by then packets come.
        one = killed.Run(lab, paths[0], *ROWS, program=killed.FAULTS,
                         env={"PERILUNE_FAULT_DIE": f"{place}:{75 if place == 'cleared' else 25}"})
        one.started()
        sender = lab.send()
        one.died()
        time.sleep(0.05)
        two = killed.Run(lab, paths[1], *ROWS)
        two.started(windows=4)
        lab.silence(sender)
        two.stop()
        union = killed.Union(paths)
        check(lab.received() > before, f"{place}: no packets")
        union.judge(lab.received() - before, probe="all")
        check([start["adopted"] for start in union.starts] == [False, True], f"{place}: {union.starts}")
        check(union.twice == twice, f"{place}: {union.twice} windows told twice")
        summary = [event for event in killed.lines(paths[1]) if event["event"] == "summary"][0]
        check(summary["packets"] == union.packets(), f"{place}: the summary has {summary['packets']}")
        killed.nothing_left(lab)
        print(f"killed when {place}: {union.packets()} packets in {len(union.windows)} windows, {union.twice} told twice")


def triggered(out, lab):
    """Killed at the end of a window that the kernel has begun, when the one after it is entered: no number is left out."""
    words = [f"{POLICIES}/triggers.lua", "--set", "iface=vb", "--set", "hook=tc.ingress"]
    before = lab.received()
    paths = []
    for _ in range(3):
        paths.append(f"{out}/triggered-{len(paths)}")
        one = killed.Run(lab, paths[-1], *words, program=killed.FAULTS, env={"PERILUNE_FAULT_DIE": "triggered:2"})
        if len(paths) == 1:
            one.started()
            sender = lab.send(200, 0.2)
        one.died()
    paths.append(f"{out}/triggered-last")
    last = killed.Run(lab, paths[-1], *words)
    last.started(windows=4)
    lab.silence(sender)
    last.stop()
    union = killed.Union(paths)
    union.judge(lab.received() - before)
    check(union.cuts["trigger"] >= 3, f"windows are cut by {dict(union.cuts)}")
    killed.nothing_left(lab)
    print(f"killed in windows of the kernel: {union.packets()} packets in {len(union.windows)} windows")


def audited(out, lab):
    """One log for all processes: it goes on after each kill, wherever that was, and what is in it follows."""
    log = f"{out}/triggers.audit"
    words = [f"{POLICIES}/triggers.lua", "--set", "iface=vb", "--set", "hook=tc.ingress", "--audit", log]
    sender = lab.send()
    paths = []
    for place in ("quiet:6", "read:9", "written:7", "exported:8", "cleaned:9"):
        paths.append(f"{out}/audited-{place}")
        killed.Run(lab, paths[-1], *words, program=killed.FAULTS, env={"PERILUNE_FAULT_DIE": place}).died()
    for upgrade in ([], ["--upgrade"]):
        paths.append(f"{out}/audited{''.join(upgrade)}")
        one = killed.Run(lab, paths[-1], *words, *upgrade)
        one.started(windows=12)
    lab.silence(sender)
    one.stop()
    told = killed.lines(log)
    check([line.get("adopted", False) for line in told if line["event"] == "audit"] == [False] + [True] * 6,
          "processes that the log tells of")
    check(sum(line["event"] == "transition" for line in told) > 6, "the log has nothing that could be wrong")
    lost = [line["message"] for path in paths for line in killed.lines(path) if line["event"] == "error"]
    check(not any("audit" in message for message in lost), lost)
    for more in (["--verify"], []):
        done = subprocess.run([killed.PERILUNE, "explain", *more, log], capture_output=True, text=True, check=False, timeout=60)
        check(done.returncode == 0 and not done.stderr, f"{more}: {done.stderr}")
    check(done.stdout.count("goes on where another process left off") == 6, done.stdout)
    killed.nothing_left(lab)
    print(f"one log of {len(paths)} processes, which follows: {len(told)} lines")


def captured(out, lab):
    """A capture ends with its process; the next process begins another, in which there is nothing from before."""
    words = [f"{out}/captured.lua"]
    with open(words[0], "w", encoding="utf8") as file:
        file.write(f"""return policy "captured" {{ attach = {{ iface = "vb", hook = "tc.ingress" }}, window = "30ms",
          always = {{ counter "all" {{}} }}, captures = {{ dir = "{out}/captures" }},
          rules = {{ rule "any" {{ when = rate("all.packets"):above "1/s", act = {{ capture {{ packets = 1e6 }} }} }} }} }}""")

    def files():
        return sorted(glob.glob(f"{out}/captures/*.pcapng"))

    before = lab.received()
    one = killed.Run(lab, f"{out}/captured-1", *words)
    one.started()
    sender = lab.send()
    killed.wait_for(lambda: len(files()) == 1 and os.path.getsize(files()[0]) > 100000, "a capture")
    one.kill()
    killed.wait_for(lambda: lab.received() > before + 5000, "packets that nobody takes")
    at = time.time()
    two = killed.Run(lab, f"{out}/captured-2", *words)
    killed.wait_for(lambda: len(files()) == 2 and os.path.getsize(files()[1]) > 100000, "another capture")
    lab.silence(sender)
    two.stop()
    killed.Union([one.path, two.path]).judge(lab.received() - before)
    first = subprocess.run(["tcpdump", "-tt", "-n", "-r", files()[1], "-c", "1"], capture_output=True, text=True, check=True)
    check(float(first.stdout.split()[0]) >= at, f"a packet from before {at}: {first.stdout}")
    check(two.seen("capture") == 1, "the end of a capture")
    killed.nothing_left(lab)
    print("a capture ends with its process, and the next begins another")


def dry(out, lab):
    """A dry run goes on with a level that it would not have gone to, at the base, and leaves nothing."""
    words = [f"{POLICIES}/lease.lua", "--set", "iface=vb", "--set", "lease=60s"]
    before = lab.received()
    one = killed.Run(lab, f"{out}/dry-1", *words)
    one.started()
    sender = lab.send()
    killed.wait_for(lambda: any(e.get("level") == "siege" for e in killed.lines(one.path) if e["event"] == "window"), "the level")
    one.kill()
    two = killed.Run(lab, f"{out}/dry-2", *words, "--dry-run")
    two.started(windows=5)
    lab.silence(sender)
    two.stop()
    killed.Union([one.path, two.path]).judge(lab.received() - before)
    seen = [(e["level"], e["cut"]) for e in killed.lines(two.path) if e["event"] == "window"]
    check(("siege", "adopted") in seen and seen[-1] == ("calm", "exit"), seen)
    check(not two.seen("transition"), "a dry run has no levels")
    killed.nothing_left(lab)
    print("a dry run goes on, at the base level")


def levels(out, lab):
    """The level is what it was; once its lease has run out, it is the base."""
    def windows(path):
        return [event for event in killed.lines(path) if event["event"] == "window"]

    for lease, level in (("60s", "siege"), ("300ms", "calm")):
        paths = [f"{out}/level-{lease}-{i}" for i in range(2)]
        words = [f"{POLICIES}/lease.lua", "--set", "iface=vb", "--set", f"lease={lease}"]
        before = lab.received()
        one = killed.Run(lab, paths[0], *words)
        one.started()
        sender = lab.send()
        killed.wait_for(lambda: any(w["level"] == "siege" for w in windows(paths[0])), "the deep level")
        one.kill()
        time.sleep(0.5)
        two = killed.Run(lab, paths[1], *words)
        two.started(windows=6)
        lab.silence(sender)
        two.stop()
        killed.Union(paths).judge(lab.received() - before)
        seen = windows(paths[1])
        went_on = [w["cut"] for w in seen].index("clock")
        check(seen[went_on - 1]["cut"] == "adopted" and seen[went_on - 1]["level"] == "siege", f"{lease}: {seen[:3]}")
        check(seen[went_on]["level"] == level, f"lease {lease}: then {seen[went_on]['level']}")
        lapsed = [e for e in killed.lines(paths[1]) if e["event"] == "error" and "ran out" in e["message"]]
        check(bool(lapsed) == (level == "calm"), f"lease {lease}: {lapsed}")
        killed.nothing_left(lab)
        print(f"level with a lease of {lease}: goes on at {level}")


def refused(lab, *words):
    """The error of a command that must fail."""
    done = subprocess.run(["nsenter", f"--net=/run/netns/{lab.b}", killed.PERILUNE, *words], capture_output=True,
                          text=True, check=False, timeout=60)
    check(done.returncode, f"{words}: it was to be refused")
    return done.stderr


def refusals(out, lab):
    one = killed.Run(lab, f"{out}/one", *ROWS)
    one.started()
    pid = one.process.pid
    error = refused(lab, "run", *ROWS, "--pin", "--json")
    check(f"runs already, pinned, as process {pid}" in error, error)
    sender = lab.send()
    one.started(windows=3)
    one.kill()
    other = [word if word != "entries=1024" else "entries=2048" for word in ROWS]
    error = refused(lab, "run", *other, "--pin", "--json")
    check("this policy, built by this version, is another" in error and "perilune unpin rows" in error, error)
    # What was refused has left all as it was.
    two = killed.Run(lab, f"{out}/two", *ROWS)
    two.started(windows=2)
    lab.silence(sender)
    two.stop()
    killed.Union([f"{out}/one", f"{out}/two"]).judge(lab.received(), probe="all")
    killed.nothing_left(lab)
    no_clang = ["env", f"PERILUNE_CACHE={out}/empty", "PERILUNE_CLANG=/nonexistent", "PATH=/nonexistent"]
    done = subprocess.run(["nsenter", f"--net=/run/netns/{lab.b}", *no_clang, killed.PERILUNE, "run", *ROWS, "--pin"],
                          capture_output=True, text=True, check=False, timeout=60)
    check("clang" in done.stderr, done.stderr)
    killed.nothing_left(lab)
    closed = subprocess.run(["nsenter", f"--net=/run/netns/{lab.b}", "sh", "-c",
                             '"$0" run "$@" --pin --json --for 20s | head -n 3', killed.PERILUNE, *ROWS],
                            capture_output=True, check=True, timeout=60)
    check(closed.stdout.count(b"\n") == 3, closed.stdout)
    killed.nothing_left(lab)
    print("refused: a second process, another policy, what is not built yet")


def upgrades(out, lab):
    """One process after the other takes over, under traffic; what each has told is told once."""
    paths = [f"{out}/upgrade-{i}" for i in range(6)]
    before = lab.received()
    one = killed.Run(lab, paths[0], *ROWS)
    one.started()
    sender = lab.send()
    for path in paths[1:]:
        one.started(windows=3)
        two = killed.Run(lab, path, *ROWS, "--upgrade")
        two.started(windows=1)
        check(one.process.wait(60) == 0, f"{one.path}: exit status {one.process.returncode}")
        last = killed.lines(one.path)[-1]
        check(last["event"] == "summary" and last["left"], f"{one.path}: {last}")
        one = two
    error = refused(lab, "run", *[word if word != "entries=1024" else "entries=2048" for word in ROWS], "--pin", "--upgrade")
    check("this policy, built by this version, is another" in error, error)
    check(one.process.poll() is None, "it left for one that could not go on")
    lab.silence(sender)
    one.stop()
    union = killed.Union(paths)
    union.judge(lab.received() - before, probe="all")
    check(union.twice == 0, f"{union.twice} windows told twice")
    check([start["adopted"] for start in union.starts] == [False] + [True] * 5, f"{union.starts}")
    killed.nothing_left(lab)
    print(f"taken over five times: {union.packets()} packets in {len(union.windows)} windows")


def main():
    killed.own_mounts()
    with tempfile.TemporaryDirectory() as out, killed.Lab("perilune-pinned") as lab:
        refusals(out, lab)
        upgrades(out, lab)
        states(out, lab)
        triggered(out, lab)
        levels(out, lab)
        audited(out, lab)
        captured(out, lab)
        dry(out, lab)


main()
