# SPDX-License-Identifier: Apache-2.0
"""What is learnt: in a replay as computed here, written by --seed, taken up by a run, refused when it does not fit."""
import math
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

POLICY = b"""
return policy "learner" { attach = { hook = "xdp", iface = "lo" }, window = "1s", always = { counter "all" {} },
  rules = { rule "much" { when = rate("all.packets"):above(rate("all.packets"):baseline("60s", { warmup = "10s" }) * 3) },
            rule "far" { when = rate("all.packets"):deviation("60s", { warmup = "10s" }):above(4) } } }
"""
STATE = os.path.join(lab.OUT, "state")
FILE = os.path.join(STATE, "learnt", "learner.state")
AGAIN = {"PERILUNE_STATE": STATE}


def frames(rates, begin=1000):
    packet = lab.ethernet(0x800, lab.ipv4("10.0.0.1", "10.0.0.2", 17, lab.udp(1, 2, b"x" * 40)))
    return [(int((begin + second + i / max(rate, 1)) * lab.NS), packet) for second, rate in enumerate(rates) for i in range(rate)]


def expected(rates, upto):
    """Mean and standard deviation of the windows before `upto`, weighted by age, from the definition."""
    weights = [math.exp(-(upto - i - 1) / 60) - math.exp(-(upto - i) / 60) for i in range(upto)]
    total = sum(weights)
    mean = sum(w * r for w, r in zip(weights, rates)) / total
    return mean, math.sqrt(sum(w * (r - mean) ** 2 for w, r in zip(weights, rates)) / total)


def run(policy, form="--json"):
    """Events of a run of two seconds in a network namespace of its own, or what it says in text."""
    done = subprocess.run(["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0" run "$1" --for 2s $2',
                           lab.PERILUNE, policy, form], capture_output=True, check=False, env=dict(os.environ, **AGAIN))
    if done.returncode:
        lab.fail("run: exit status %d: %s" % (done.returncode, done.stderr.decode()))
    return lab.read_events(done.stdout, "run") if form else (done.stdout + done.stderr).decode()


def learns(policy):
    rates = [20 + 7 * i % 13 for i in range(40)] + [400, 400, 5]
    pcap = lab.write_pcap("steady.pcap", frames(rates))
    out, _ = lab.perilune("replay", policy, pcap, "--json", env=AGAIN)
    if os.path.exists(STATE):
        lab.fail("a replay without --seed leaves something behind")
    fired = [e for e in lab.read_events(out, "steady") if e["event"] == "rule" and e["state"] == "firing"]
    lab.equal([("much", 41), ("far", 41)], [(e["rule"], e["seq"]) for e in fired], "rules that fire")
    mean, spread = expected(rates, 40)
    for value, wanted in ((fired[0]["values"]["rate all.packets baseline 1m"], mean),
                          (fired[1]["values"]["rate all.packets deviation 1m"], (400 - mean) / spread)):
        if abs(value - wanted) > 1e-6 * wanted:
            lab.fail("expected %.9g, got %.9g" % (wanted, value))
    return pcap


def seeds(policy, pcap):
    first = None
    for _ in range(2):
        lab.perilune("replay", policy, pcap, "--seed", "--json", env=AGAIN)
        with open(FILE, "rb") as file:
            first, before = file.read(), first
        if before not in (None, first):
            lab.fail("the same capture gives another seed")
    lab.equal(0o600, os.stat(FILE).st_mode & 0o777, "the file's mode")
    lab.equal([], [e for e in run(policy) if e["event"] == "error"], "errors of a run that begins with a seed")
    said = run(policy, "")
    if "2 baselines of earlier runs, from " + FILE not in said:
        lab.fail("a run that does not say what it begins with: " + said)


def refuses(policy):
    changed = lab.write("changed.lua", POLICY.replace(b'"60s"', b'"90s"'))
    events = run(changed)
    said = [e["message"] for e in events if e["event"] == "error"]
    lab.equal(["what was learnt of %s does not fit the policy any more" % what
               for what in ("far: rate all.packets baseline 60", "much: rate all.packets baseline 60")], said, "another period")
    with open(FILE, "r+b") as file:
        file.seek(-3, os.SEEK_END)
        file.write(b"9")
    events = run(policy)
    lab.equal([FILE + ": it is damaged"], [e["message"] for e in events if e["event"] == "error"], "a damaged file")
    events = run(policy)
    lab.equal([], [e for e in events if e["event"] == "error"], "after it was written anew")


def main():
    policy = lab.write("learner.lua", POLICY)
    pcap = learns(policy)
    seeds(policy, pcap)
    refuses(policy)
    lab.done("learnt as computed, seeded, taken up, refused")


main()
