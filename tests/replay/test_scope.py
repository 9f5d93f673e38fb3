# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 1200
"""Probes limited by sets of every kind see the packets that tshark says are in them, on every capture: sets that have members from the
start, and sets of flows that a rule fills and empties from window to window."""
import functools
import os
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

FLOW = ("src", "dst", "sport", "dport", "proto")
NAMES = {number: name for name, number in lab.PROTOCOLS.items()}
BUSY = "lucid_CIC-DDoS-2019-WebDDoS.pcap"
MOST = 3  # packets of a flow in a window that are not worth a closer look


@functools.lru_cache(maxsize=1000)
def packets_of(name):
    return tshark.read(os.path.join(lab.PCAPS, name))[0]


def end(address, port):
    return address if not port else "[%s]:%d" % (address, port) if ":" in address else "%s:%d" % (address, port)


def flow_text(flow, way):
    src, dst, sport, dport, proto = flow
    return "%s %s %s %s" % (end(src, sport), way, end(dst, dport), NAMES.get(proto, proto))


def turned(flow):
    src, dst, sport, dport, proto = flow
    return (dst, src, dport, sport, proto)


def alternate(values, step):
    return set(sorted(values)[::step])


def sets_of(packets):
    """{ kind of set: (members as written, whether a packet is in it) }"""
    flows = {tuple(p[k] for k in FLOW) for p in packets}
    some, both = alternate(flows, 2), alternate(flows, 3)
    addresses = alternate({p["src"] for p in packets} | {p["dst"] for p in packets}, 2)
    ports = alternate({p["sport"] for p in packets} | {p["dport"] for p in packets}, 2)
    protos = alternate({p["proto"] for p in packets}, 2)

    def flow(p):
        return tuple(p[k] for k in FLOW)

    def quoted(values):
        return ['"%s"' % value for value in values]

    return {
        "src": (quoted(addresses), lambda p: p["src"] in addresses),
        "dst": (quoted(addresses), lambda p: p["dst"] in addresses),
        "host": (quoted(addresses), lambda p: p["src"] in addresses or p["dst"] in addresses),
        "sport": ([str(port) for port in ports], lambda p: p["sport"] in ports),
        "dport": (quoted(ports), lambda p: p["dport"] in ports),
        "port": ([str(port) for port in ports], lambda p: p["sport"] in ports or p["dport"] in ports),
        "proto": (quoted(NAMES.get(proto, proto) for proto in protos), lambda p: p["proto"] in protos),
        "flow": (quoted(flow_text(f, ">") for f in some), lambda p: flow(p) in some),
        # Each way round as it comes: which end is the lower one is not for whoever writes it.
        "biflow": (quoted(flow_text(f, "<>") for f in both), lambda p: flow(p) in both or turned(flow(p)) in both),
    }


def from_the_start():
    matched = Counter()
    for name in lab.captures():
        path = os.path.join(lab.PCAPS, name)
        packets = packets_of(name)
        sets = sets_of(packets)
        text = 'return policy "scopes" { attach = { hook = "tc" }, window = "24h", always = {\n'
        text += "".join('counter "in_%s" { scope = "%s" },\n' % (kind, kind) for kind in sets) + "}, sets = {\n"
        text += "".join('set "%s" { of = "%s", max = 10000, members = { %s } },\n' % (kind, kind, ", ".join(members))
                        for kind, (members, _) in sets.items()) + "} }\n"
        events = lab.replay(path, lab.write("scopes.lua", text.encode()))
        for kind, (_, is_in) in sets.items():
            have = sum(row["packets"] for event in lab.of(events, "records", probe="in_" + kind) for row in event["rows"])
            lab.equal(sum(map(is_in, packets)), have, "%s: %s" % (name, kind))
            matched[kind] += have
    if min(matched.values()) < 500:
        lab.fail("too few packets are in the sets: %r" % matched)
    return sum(matched.values())


def by_rules():
    """A flow with more than MOST packets in a window is in the set during the next."""
    path = os.path.join(lab.PCAPS, BUSY)
    rules = [("one", "", "flow", ">", "found"), ("two", ', features = { "biflow" }', "biflow", "<>", "pairs")]
    text = 'return policy "found" { attach = { hook = "tc" }, window = "100ms", always = {\n'
    text += "".join('flows "%s" { key = "5tuple"%s }, counter "%s" { scope = "%s" },\n' % (probe, features, of, found)
                    for probe, features, of, _, found in rules) + "}, sets = {\n"
    text += "".join('set "%s" { of = "%s", max = 10000 },\n' % (found, of) for _, _, of, _, found in rules) + "}, rules = {\n"
    text += "".join('rule "%s" { per = "%s.flow", when = sum("%s.packets"):above(%d), act = { add "%s" } },\n' %
                    (found, probe, probe, MOST, found) for probe, _, _, _, found in rules) + "} }\n"
    events = lab.replay(path, lab.write("found.lua", text.encode()))
    packets, compared = packets_of(BUSY), 0
    start = packets[0]["time"]
    for _, _, of, way, found in rules:
        windows = {}
        for p in packets:
            flow = tuple(p[k] for k in FLOW)
            flow = min(flow_text(flow, way), flow_text(turned(flow), way)) if of == "biflow" else flow_text(flow, way)
            windows.setdefault((p["time"] - start) // (lab.NS // 10), Counter())[flow] += 1
        want = {number: sum(count for flow, count in flows.items() if windows.get(number - 1, {}).get(flow, 0) > MOST)
                for number, flows in windows.items()}
        starts = {event["seq"]: lab.ns_of(event["start"]) for event in lab.of(events, "window")}
        have = {number: 0 for number in want}
        for event in lab.of(events, "records", probe=of):
            number = (starts[event["seq"]] - lab.ns_of(lab.of(events, "window")[0]["start"]) + 1000) // (lab.NS // 10)
            count = sum(row["packets"] for row in event["rows"])
            if count:
                have[number] = count
        lab.equal(want, have, "%s, packets in each window" % of)
        members = {(e["member"], e["undo"]) for e in lab.of(events, "action", set=found)}
        if {m for m, undo in members if not undo} != {m for m, undo in members if undo} or not members:
            lab.fail("of %d flows added, not all left, or there were none" % len(members))
        compared += sum(have.values())
    if compared < 100:
        lab.fail("only %d packets were in sets that rules fill" % compared)
    return compared


lab.done("%d packets in sets as tshark sees them, %d in sets that rules fill" % (from_the_start(), by_rules()))
