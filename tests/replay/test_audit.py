# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
"""Audit logs of real runs: told, evaluated again, and tampered with."""
import json
import os
import re
import stat
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

POLICY = os.path.join(lab.SOURCE, "examples", "syn_flood.lua")
FLOOD = os.path.join(lab.PCAPS, "lucid_CIC-DDoS-2019-SynFlood.pcap")
LOG = os.path.join(lab.OUT, "flood.audit")


def verify(path, status=0):
    out, errors = lab.perilune("explain", "--verify", path, status=status)
    return (out if status == 0 else errors).decode()


def refused(path):
    """What is said of a log that is not true."""
    run = subprocess.run([lab.PERILUNE, "explain", "--verify", path], capture_output=True, check=False)
    return run.stderr.decode() if run.returncode in (1, 2) else ""


def real_run():
    events = lab.read_events(lab.perilune("replay", POLICY, FLOOD, "--pps", "2000", "--until", "60s", "--json", "--audit", LOG)[0], "replay")
    with open(LOG, "rb") as file:
        lines = file.read()
    logged = lab.read_events(lines, "the audit log")
    lab.equal(0o600, stat.S_IMODE(os.stat(LOG).st_mode), "mode of the log")
    for name in ("transition", "rule", "action"):
        lab.equal(lab.of(events, name), lab.of(logged, name), "%ss of the run and of its log" % name)
    steps = lab.of(logged, "transition")
    if len(steps) < 3:
        lab.fail("only %d transitions" % len(steps))
    windows = lab.of(events, "window")
    for step in steps:
        before = [w for w in windows if w["seq"] <= step["seq"]]
        lab.equal(sum(w["loss"]["map_full"] for w in before), step["loss"]["map_full"], "loss so far")
        stay = 0
        for window in reversed(before):
            if window["level"] != step["from"]:
                break
            stay += window["packets"]
        lab.equal(stay, step["after"]["packets"], "packets at the level left")
    if len(lab.of(logged, "judged")) * 3 > len(windows):
        lab.fail("%d of %d windows are in the log" % (len(lab.of(logged, "judged")), len(windows)))
    said = verify(LOG)
    if "%d changes of level, %d of rules" % (len(steps), len(lab.of(events, "rule"))) not in said:
        lab.fail("evaluated again: " + said)
    return lines.decode().splitlines(True), steps


def story(steps):
    text = lab.perilune("explain", LOG)[0].decode()
    at = 0
    for step in steps:
        for wanted in ("%s → %s" % (step["from"], step["to"]), "because " + step["reason"]):
            found = text.find(wanted, at)
            if found < 0:
                lab.fail("the story lacks %r:\n%s" % (wanted, text))
            at = found
    for wanted in ("held by surge", "add 172.16.0.5 to attackers", "remove 172.16.0.5 from attackers", "start syn-flood"):
        if wanted not in text:
            lab.fail("the story lacks %r:\n%s" % (wanted, text))
    told = lab.read_events(lab.perilune("explain", LOG, "--json")[0], "explain --json")
    lab.equal([(s["from"], s["to"], s["reason"]) for s in steps], [(t["from"], t["to"], t["because"]) for t in told if "to" in t], "told")
    some = lab.read_events(lab.perilune("explain", LOG, "--json", "--rule", "attacker")[0], "explain --rule")
    if not some or len(some) >= len(told):
        lab.fail("of %d moments %d concern one rule" % (len(told), len(some)))
    late = lab.read_events(lab.perilune("explain", LOG, "--json", "--since", steps[1]["time"], "--until", steps[2]["time"])[0], "explain --since")
    if not late or any(not steps[1]["time"] <= t["time"] < steps[2]["time"] for t in late):
        lab.fail("explain --since --until gives other times")


def tampered(lines):
    edits = (
        (r'"event":"transition"(.*)"to":"siege"', r'"event":"transition"\1"to":"alert"', "transition"),
        (r'"held_by":\["surge"\]', '"held_by":["victim"]', "held_by"),
        (r'"reason":"surge: attempts totals [0-9,]+/s', '"reason":"surge: attempts totals 9,999/s', "reason"),
        (r'("event":"tripped".*"rule":"surge","values":\[)[0-9.]+', r"\g<1>1", "surge"),
        (r'("event":"judged".*"rule":"victim".*?"values":\[)[0-9.]+', r"\g<1>1", "victim"),
        (r'"kind":"lasting","seconds":10', '"kind":"lasting","seconds":20', "evaluated again"),
        (r'"threshold":\{"text":"1,000/s","unit":"rate","value":1000\}', '"threshold":{"text":"1,000/s","unit":"rate","value":9000}', "surge"),
        (r'"member":"172.16.0.5"', '"member":"172.16.0.6"', "member"),
        (r'"start":([0-9.]+),"seconds":0.1', r'"start":\g<1>,"seconds":20.1', "window"),
    )
    for before, after, said in edits:
        text, count = re.subn(before, after, "".join(lines), count=1)
        if count != 1:
            lab.fail("nothing to tamper with: " + before)
        path = lab.write("tampered.audit", text.encode())
        errors = refused(path)
        if not re.match(r"perilune: .*tampered.audit:\d+: ", errors) or not re.search(said, errors):
            lab.fail("%s, tampered with, gives %r" % (before, errors))
    for i, line in enumerate(lines[:-2]):  # of the last window nothing came
        if json.loads(line)["event"] in ("transition", "rule", "judged", "tripped"):
            path = lab.write("cut.audit", "".join(lines[:i] + lines[i + 1:]).encode())
            errors = refused(path)
            if not re.match(r"perilune: .*cut.audit:\d+: ", errors):
                lab.fail("line %d is missing and nobody says so: %r" % (i + 1, errors))


def again_and_crashed():
    """A second run goes on in the same file; a crash leaves half a line, before which all can still be told."""
    lab.perilune("replay", POLICY, FLOOD, "--pps", "2000", "--until", "60s", "--json", "--audit", LOG)
    if "6 changes of level" not in verify(LOG):
        lab.fail("two runs in one log: " + verify(LOG))
    with open(LOG, "rb") as file:
        data = file.read()
    path = lab.write("half.audit", data[:-200])
    if "6 changes of level" not in verify(path):
        lab.fail("a log cut short: " + verify(path))
    lab.perilune("replay", POLICY, FLOOD, "--pps", "2000", "--until", "60s", "--json", "--audit", path)
    if "9 changes of level" not in verify(path):
        lab.fail("a log that goes on after a crash: " + verify(path))
    if b"cut short" not in lab.perilune("explain", path)[1]:
        lab.fail("nobody is told of the line that was cut short")


def mistakes():
    for name, text, said in (("text", b"hello\n", "text:1: no JSON"), ("json", b"[1]\n", "json:1: not an event of perilune"),
                             ("newer", b'{"v":2,"time":"2026-01-01T00:00:00Z","event":"audit","policy":"p","n":1,"format":9}\n', "newer:1: it is of a newer version")):
        errors = lab.perilune("explain", lab.write(name, text), status=2)[1].decode()
        if said not in errors:
            lab.fail("explain %s says %r" % (name, errors))
    for args, said in ((["/nonexistent"], "No such file"), ([lab.OUT], "a directory"), ([LOG, "--since", "soon"], "no time")):
        errors = lab.perilune("explain", *args, status=2)[1].decode()
        if said not in errors:
            lab.fail("explain %s says %r" % (args, errors))


log, transitions = real_run()
story(transitions)
tampered(log)
again_and_crashed()
mistakes()
lab.done("audit logs told, evaluated again, tampered with")
