# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""A replay's budget gives up and back by costs that were recorded: at the same packets each time, and as a simple reckoning of
the same costs says that it has to. Without recorded costs it says that the budget is not judged, and gives nothing up."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

POLICY = """local all = rate "totals.packets"
return policy "thrifty" { attach = { iface = "lo", hook = "xdp" }, window = "500ms",
  always = { counter "totals" {} },
  levels = { level "calm" {}, level "deep" { flows "rows" { key = { "sport" }, sample = "auto" }, netflow "more" {} } },
  rules = { rule "some" { when = all:above "1k/s", clear = all:below "100/s", hold = "deep" } },
  budget = { %s },
}
"""
BASE, CALM, MORE, ROWS = 100, 60, 300, 400  # ns: of the deep level without what it may give up; of calm; of its parts
COSTS = {"v": 1, "policy": "thrifty", "levels": {
    "calm": {"ns": CALM, "parts": {}},
    "deep": {"ns": BASE + MORE + ROWS, "parts": {"more": MORE, "rows": ROWS}},
}}
PACE, SECONDS = 5000, 4
START = 1700000000 * lab.NS


def frames():
    """PACE packets a second for some time, then 200, then one, each of another port."""
    out = []
    times = [START + i * lab.NS // PACE for i in range(PACE * SECONDS)]
    times += [START + SECONDS * lab.NS + i * lab.NS // 200 for i in range(200 * 15)]
    times += [START + (SECONDS + 15 + i) * lab.NS for i in range(1, 10)]
    for i, time in enumerate(times):
        ip = bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2])
        udp = (1024 + i % 1000).to_bytes(2, "big") + b"\0\x35\0\x08\0\0"
        data = b"\2\0\0\0\0\1\2\0\0\0\0\2\x08\0" + ip + udp
        out.append((time, data, len(data)))
    return out


def write(name, text):
    path = os.path.join(lab.OUT, name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def cost_of(event):
    """What a packet costs in the state that a budget event says, at the level in force after it."""
    if event.get("cap") == "calm":
        return CALM
    return BASE + (0 if "more" in event["shed"] else MORE) + ROWS / event["thin"]


def judge(budget, capture, costs, limit):
    """The steps of a run: each costs what was recorded, the last one fits. Returns the events."""
    policy = write("p.lua", POLICY % budget)
    out, err = lab.perilune("replay", policy, capture, "--costs", costs, "--json", "--audit", os.path.join(lab.OUT, "a.log"))
    again, _ = lab.perilune("replay", policy, capture, "--costs", costs, "--json")
    lab.equal(b"", err, "what is said of the replay")
    if out != again:
        lab.fail("two replays differ")
    events = lab.read_events(out, "replay")
    steps = lab.of(events, "budget")
    taken = [e for e in steps if e["what"] in ("thin", "shed", "cap")]
    settled = lab.of(steps, "budget", what="settled")
    lab.equal(len(taken), len(settled), "steps and what came of them")
    lab.equal(BASE + MORE + ROWS, taken[0]["cost"], "the cost of everything")
    for step, after in zip(taken, settled):
        lab.equal(int(cost_of(step) + 0.5), after["cost"], "the cost after: %s" % step["reason"])
    if not limit(settled[-1]) or any(limit(e) for e in settled[:-1]):
        lab.fail("%s: it stops where it fits: %r" % (budget, [e["reason"] for e in settled]))
    last = steps[-1]
    lab.equal(("back", 1, [], None), (last["what"], last["thin"], last["shed"], last.get("cap")), "the end")
    took = (lab.ns_of(settled[-1]["time"]) - START) / lab.NS
    if took > 3:
        lab.fail("%s: it took %.1f s" % (budget, took))
    first = lab.of(events, "transition")[0]
    lab.equal((CALM, BASE + MORE + ROWS), (first["cost_before"], first["cost_after"]), "what the change of level costs")
    lab.perilune("explain", "--verify", os.path.join(lab.OUT, "a.log"))
    story = lab.perilune("explain", os.path.join(lab.OUT, "a.log"))[0].decode()
    if "costs 800 ns a packet, before 60" not in story:
        lab.fail("the story does not say what the level costs:\n" + story)
    os.remove(os.path.join(lab.OUT, "a.log"))
    return events


def main():
    capture = lab.write_pcap("steady.pcap", frames())
    costs = write("costs.json", json.dumps(COSTS))
    events = judge('cost = "250ns/packet", shed = { "more" }', capture, costs, lambda e: e["cost"] <= 250)
    # What is thinned and shed is so in the kernel too.
    rates = {e["sample_rate"] for e in lab.of(events, "records", probe="rows")}
    if max(rates) < 2 or min(rates) != 1:
        lab.fail("rates of the sampled probe: %r" % rates)
    judge('cpu = "0.1%", shed = { "more" }', capture, costs, lambda e: e["cpu"] <= 0.001)  # of 5,000 x 800 ns: 0.4 %
    events = judge('cost = "90ns/packet", shed = { "more" }', capture, costs, lambda e: e["cost"] <= 90)
    lab.equal(["deep", "calm", "deep"], [e["to"] for e in lab.of(events, "transition")][:3], "a level that is capped, and given back")

    policy = write("p.lua", POLICY % 'cost = "250ns/packet", shed = { "more" }')
    out, err = lab.perilune("replay", policy, capture, "--json")
    if not re.search(rb"the budget is not judged.*--record", err):
        lab.fail("without costs: %r" % err)
    lab.equal([], lab.of(lab.read_events(out, "replay"), "budget"), "steps without costs")

    # The same in an operator's test.
    steps = '''return tests "p.lua" { test "steps" { traffic = { pcap "%s" }, expect = {
      level "deep", act("budget", { text = "without more", by = "3s" }), act("budget", { text = "room", after = "%ds" }) } } }'''
    judged = write("judged_test.lua", steps % (os.path.basename(capture), SECONDS))
    out, _ = lab.perilune("test", judged, "--costs", costs, "--timeline")
    if b"budget shed  " not in out:
        lab.fail("the timeline of a test says nothing of its budget:\n" + out.decode())
    out, _ = lab.perilune("test", judged, status=1)
    if b"FAILED  steps" not in out:
        lab.fail("a budget that is not judged has steps:\n" + out.decode())

    # Costs of another policy, or that lack a part, are no costs.
    del COSTS["levels"]["deep"]["parts"]["more"]
    _, err = lab.perilune("replay", policy, capture, "--costs", write("wrong.json", json.dumps(COSTS)), status=2)
    if b'nothing says what probe "more" costs at level "deep"' not in err:
        lab.fail("a part that is missing: %r" % err)

    # What check records can be replayed with.
    recorded = os.path.join(lab.OUT, "recorded.json")
    lab.perilune("check", policy, "--record", recorded)
    with open(recorded, encoding="utf-8") as file:
        deep = json.load(file)["levels"]["deep"]
    if not (deep["ns"] > deep["parts"]["more"] > 0 and deep["ns"] > deep["parts"]["rows"] > 0):
        lab.fail("what check has recorded: %r" % deep)
    lab.replay(capture, policy, "--costs", recorded)
    lab.done("budgets of a cost and of a share, thinned, shed, capped and given back; recorded: %r" % deep)


main()
