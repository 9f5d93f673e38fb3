# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 900
"""The policy examples/syn_flood.lua over floods of several kinds mixed into ordinary traffic, and over what only looks like one.

The recorded flood at its own pace: found within its first 1,000 packets, its sender named within the first 10,000. At a tenth
of the pace, and from 1,000 spoofed sources: found. A flash crowd of completed handshakes, and ordinary traffic: calm throughout.
"""
import bisect
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

POLICY = os.path.join(lab.SOURCE, "examples", "syn_flood.lua")
ATTACKER, VICTIM = "172.16.0.5", "192.168.50.4"
FLOOD = lab.read_pcap(os.path.join(lab.PCAPS, "lucid_CIC-DDoS-2019-SynFlood.pcap"))
ZERO = FLOOD[0][0]
CALM_AFTER = 40  # seconds of ordinary traffic after the flood


def ordinary(begin, seconds):
    """What a site's users do: connections of a recorded visit, one after the other."""
    visit = lab.read_pcap(os.path.join(lab.PCAPS, "http_bro.org.pcap"))
    length = visit[-1][0] - visit[0][0] + lab.NS // 10
    frames = []
    for at in range(0, int(seconds * lab.NS), length):
        frames += [(begin + at + time - visit[0][0], data, wire) for time, data, wire in visit]
    return [f for f in frames if f[0] < begin + seconds * lab.NS]


def flood(stretch=1, edit=lambda i, data: data):
    return [(ZERO + (time - ZERO) * stretch, edit(i, data), wire) for i, (time, data, wire) in enumerate(FLOOD)]


def spoofed(i, data):
    """The same packet from (or to) one of 1,000 addresses."""
    source = struct.pack(">BBBB", 10, 200, i % 1000 // 250, 1 + i % 250)
    attacker = lab.address(ATTACKER)
    if data[26:30] == attacker:
        return data[:26] + source + data[30:]
    return data[:30] + source + data[34:] if data[30:34] == attacker else data


def crowd(rate, seconds):
    """Handshakes that are completed, and nothing more: the least that tells a visitor from a flood."""
    frames = []
    for i in range(rate * seconds):
        at, port = ZERO + i * lab.NS // rate, 1024 + i % 60000
        client = "10.%d.%d.%d" % (100 + i // 62500, i // 250 % 250, 1 + i % 250)
        for after, src, dst, sport, dport, flags in ((0, client, VICTIM, port, 80, 2), (200000, VICTIM, client, 80, port, 18),
                                                     (400000, client, VICTIM, port, 80, 16)):
            frames.append((at + after, lab.ethernet(0x0800, lab.ipv4(src, dst, 6, lab.tcp(sport, dport, flags)))))
    return frames


def run(name, attack):
    """Events, and the times of the attack's packets."""
    last = max([f[0] for f in attack] or [ZERO])
    seconds = 3 + (last - ZERO) / lab.NS + CALM_AFTER
    frames = sorted(attack + ordinary(ZERO - 3 * lab.NS, seconds), key=lambda f: f[0])
    path = lab.write_pcap(name + ".pcap", frames)
    out, _ = lab.perilune("replay", POLICY, path, "--json")
    events = lab.read_events(out, name)
    lab.equal(len(frames), lab.of(events, "summary")[0]["packets"], name + ": packets")
    return events, [f[0] for f in attack]


def packets_before(times, event):
    return bisect.bisect_right(times, lab.ns_of(event["time"]))


def found(name, attack, within):
    """It leaves calm within so many packets of the attack, goes deep, names the victim, and is calm in the end."""
    events, times = run(name, attack)
    steps = lab.of(events, "transition")
    if not steps:
        lab.fail("%s: never left calm" % name)
    lab.equal("calm", steps[0]["from"], name + ": the first change")
    after = packets_before(times, steps[0])
    if not 0 < after <= within:
        lab.fail("%s: left calm after %d packets, not within the first %d" % (name, after, within))
    if "siege" not in [s["to"] for s in steps]:
        lab.fail("%s: never at siege: %s" % (name, [s["to"] for s in steps]))
    lab.equal("calm", steps[-1]["to"], name + ": the level in the end")
    victims = {a["member"] for a in lab.of(events, "action", act="add", undo=False) if a["set"] == "victims"}
    if VICTIM not in victims:
        lab.fail("%s: %s is not among the victims: %s" % (name, VICTIM, victims))
    return events, times, after


def calm(name, attack):
    events, _ = run(name, attack)
    for kind in ("transition", "action"):
        lab.equal([], [e.get("reason") or e.get("member") for e in lab.of(events, kind)], "%s: events `%s`" % (name, kind))


def main():
    events, times, after = found("flood", flood(), 1000)
    named = [a for a in lab.of(events, "action", act="add", undo=False) if (a["set"], a["member"]) == ("attackers", ATTACKER)]
    if not named:
        lab.fail("flood: %s is never named" % ATTACKER)
    when = packets_before(times, named[0])
    if when > 10000:
        lab.fail("flood: %s is named after %d packets, not within the first 10,000" % (ATTACKER, when))
    _, _, tenth = found("tenth", flood(stretch=10), 1000)
    _, _, many = found("spoofed", flood(edit=spoofed), 1000)
    calm("ordinary", [])
    calm("crowd", crowd(3000, 3))
    lab.done("the flood is found after %d packets and its sender named after %d; at a tenth of the pace after %d, from 1,000 sources "
             "after %d; ordinary traffic and a flash crowd stay calm" % (after, when, tenth, many))


if "FLOOD_KINDS_AS_LIBRARY" not in os.environ:
    main()
