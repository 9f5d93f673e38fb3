# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
"""The policy examples/syn_flood.lua over a recorded flood, stretched to a pace that windows can follow.

Ordinary packets, the flood, ordinary packets again: calm → alert → siege → calm, each with its reason, the attackers named.
The same packets at the same rate as plain UDP stay calm. At the pace at which it was recorded, the kernel's trigger is faster than any
window: calm is left within the flood's first 1,000 packets, and the attacker is named within its first 10,000.
"""
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

POLICY = os.path.join(lab.SOURCE, "examples", "syn_flood.lua")
STRETCH = 13  # 0.69 s become 9 s
ORDINARY = 0.25  # seconds between ordinary packets


def ordinary(begin, seconds):
    """A conversation's packets, again and again."""
    frames = lab.read_pcap(os.path.join(lab.PCAPS, "http_get.pcap"))
    return [(begin + int(i * ORDINARY * lab.NS), *frames[i % len(frames)][1:]) for i in range(int(seconds / ORDINARY))]


def as_udp(data):
    """The TCP packet as a UDP one of the same length: protocol, ports, a length in place of the sequence number."""
    ip = (data[14] & 15) * 4
    total = struct.unpack_from(">H", data, 16)[0]
    at = 14 + ip
    return data[:23] + b"\x11" + data[24:at + 4] + struct.pack(">HH", total - ip, 0) + data[at + 8:]


def scenario(name, edit=lambda data: data, stretch=STRETCH):
    flood = lab.read_pcap(os.path.join(lab.PCAPS, "lucid_CIC-DDoS-2019-SynFlood.pcap"))
    zero = flood[0][0]
    flood = [(zero + (time - zero) * stretch, edit(data), wire) for time, data, wire in flood]
    frames = ordinary(zero - 3 * lab.NS, 3) + flood + ordinary(flood[-1][0] + 1, 40)
    return lab.write_pcap(name, frames), len(frames), flood[0][0], flood[-1][0]


def run(path, *args):
    out, _ = lab.perilune("replay", POLICY, path, "--json", *args)
    return out, lab.read_events(out, os.path.basename(path))


def flood():
    path, packets, begin, end = scenario("flood.pcap")
    out, events = run(path)
    if run(path)[0] != out:
        lab.fail("two replays of the flood differ")
    lab.equal(packets, lab.of(events, "summary")[0]["packets"], "packets")
    steps = lab.of(events, "transition")
    lab.equal([("calm", "alert"), ("alert", "siege"), ("siege", "calm")], [(t["from"], t["to"]) for t in steps], "transitions")
    for step in steps:
        if not step["reason"] or not step["values"]:
            lab.fail("a transition without a reason: %r" % step)
    times = [lab.ns_of(t["time"]) for t in steps]
    if not begin <= times[0] <= begin + lab.NS // 4 or not times[0] < times[1] <= times[0] + lab.NS // 2:
        lab.fail("alert and siege %.1f s and %.1f s after the flood began" % tuple((t - begin) / lab.NS for t in times[:2]))
    if not end + 10 * lab.NS <= times[2] <= end + 30 * lab.NS:
        lab.fail("calm %.1f s after the flood ended, not after at least 10 s of quiet" % ((times[2] - end) / lab.NS))
    for step, level, rule in zip(steps, ("alert", "siege"), ("surge", "victim")):
        lab.equal(rule, step["rule"], "the rule that led to " + level)
    named = {(a["set"], a["member"]) for a in lab.of(events, "action", act="add", undo=False)}
    if ("attackers", "172.16.0.5") not in named:
        lab.fail("172.16.0.5 is not among the attackers: %s" % sorted(named))
    if not any(where == "victims" for where, _ in named):
        lab.fail("no victim is named: %s" % sorted(named))
    # Every window has one level, and the ladder's windows follow each other without a gap.
    windows = lab.of(events, "window")
    for one, two in zip(windows, windows[1:]):
        if lab.ns_of(two["start"]) < lab.ns_of(one["end"]):
            lab.fail("windows %d and %d overlap" % (one["seq"], two["seq"]))
    lab.equal({"calm", "alert", "siege"}, {w["level"] for w in windows}, "levels of the windows")
    lab.equal(packets, sum(w["packets"] for w in windows), "packets of all windows")
    return packets, len(windows), len(named)


def at_its_own_pace():
    """In packets of the flood: after how many calm is left, and after how many its source is named."""
    path, packets, begin, end = scenario("fast.pcap", stretch=1)
    out, events = run(path)
    if run(path)[0] != out:
        lab.fail("two replays of the flood at its own pace differ")
    lab.equal(packets, sum(w["packets"] for w in lab.of(events, "window")), "packets of all windows")
    flood_at = [time for time, _, _ in lab.read_pcap(path) if begin <= time <= end]
    left = lab.of(events, "transition")[0]
    lab.equal(("calm", "alert", "surge"), (left["from"], left["to"], left["rule"]), "the first transition")
    named = [a for a in lab.of(events, "action", act="add", undo=False) if (a["set"], a["member"]) == ("attackers", "172.16.0.5")]
    first = lab.of(events, "window")[left["seq"] - 1]
    lab.equal("trigger", first["cut"], "what ended the window in which the flood began")
    after = [sum(time <= lab.ns_of(event["time"]) for time in flood_at) for event in (left, named[0])]
    if after[0] > 1000 or after[1] > 10000:
        lab.fail("calm was left after %d packets of the flood, its source named after %d" % tuple(after))
    # The packet after the one that has tripped is already in the deeper level's rows.
    deep = [w for w in lab.of(events, "window") if w["seq"] > left["seq"]][0]
    rows = [r for r in lab.of(events, "records", probe="to") if r["seq"] == deep["seq"]][0]
    lab.equal(("alert", deep["packets"]), (deep["level"], sum(r["packets"] for r in rows["rows"])), "the window after it")
    return after


def deep_rows():
    """At siege, `to` sees every packet that the window counts, and `from` those to victims (records are cut to the first rows)."""
    path, _, _, _ = scenario("flood.pcap")
    _, events = run(path)
    levels = {w["seq"]: w for w in lab.of(events, "window")}
    records = {(r["seq"], r["probe"]): r for r in lab.of(events, "records")}
    checked, scoped, victims = 0, 0, {}
    for action in lab.of(events, "action"):
        if action.get("set") == "victims":
            victims.setdefault(action["seq"], []).append((action["member"], action["undo"]))
    inside = set()
    for seq in sorted(levels):
        to, source = records.get((seq, "to")), records.get((seq, "from"))
        if to and not to["omitted"]:
            lost = to["loss"]["map_full"] + to["loss"]["not_parsed"]
            lab.equal(levels[seq]["packets"], sum(r["packets"] for r in to["rows"]) + lost, "window %d: rows + loss of to" % seq)
            checked += 1
        if to and source and not to["omitted"] and not source["omitted"]:
            lab.equal(sum(r["packets"] for r in to["rows"] if r["dst"] in inside), sum(r["packets"] for r in source["rows"]),
                      "window %d: packets to %s" % (seq, ", ".join(sorted(inside)) or "nobody"))
            scoped += any(r["packets"] for r in source["rows"])
        for member, undo in victims.get(seq, ()):
            (inside.discard if undo else inside.add)(member)
    if checked < 25 or scoped < 10:
        lab.fail("only %d records of to and %d of from without omitted rows" % (checked, scoped))
    return checked + scoped


def udp():
    path, packets, _, _ = scenario("udp.pcap", as_udp)
    _, events = run(path)
    lab.equal(packets, lab.of(events, "summary")[0]["packets"], "packets of the UDP flood")
    for name in ("transition", "action", "rule"):
        lab.equal([], lab.of(events, name), "events `%s` of a UDP flood" % name)
    most = max(w["packets"] for w in lab.of(events, "window"))
    if most < 2000:
        lab.fail("the UDP flood has only %d packets a second" % most)


def main():
    packets, windows, named = flood()
    left, attacker = at_its_own_pace()
    checked = deep_rows()
    udp()
    lab.done("%d packets in %d windows: calm, alert, siege, calm, twice the same; %d members named; rows + loss = packets in "
             "%d records; as UDP calm; at its own pace calm is left after %d packets of the flood and its source named after %d" % (
                 packets, windows, named, checked, left, attacker))


main()
