# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 1200
"""What flows says of a flow as a whole: who is the server, how it ended, the ports of later fragments, the times between packets; on
every capture, from what tshark says of the packets."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

IDLE = 60 * lab.NS
CLASSES = 25
POLICY = lab.policy("sessions.lua", ['flows "all" { features = { "server", "end_reason", "defrag", "timing", "gaps" }, entries = 16384, sessions = 16384 }',
                                 'flows "both" { features = { "biflow", "server", "defrag" }, entries = 16384, sessions = 16384 }'])


def to_server(p):
    """(whether the packet goes to the server, how that is known)"""
    if p["proto"] == 6 and p["flags"] & 2:
        return (False, "syn_ack") if p["flags"] & 16 else (True, "syn")
    if p["sport"] == p["dport"]:
        return True, "first_packet"
    known = (p["sport"] < 1024) != (p["dport"] < 1024)
    return p["dport"] < p["sport"], "well_known_port" if known else "lower_port"


def fragments(path):
    """(fragmented, later, id) of each packet that tshark.read gives."""
    for fields in tshark.lines(path):
        p = tshark.packet(fields)
        if not p:
            continue
        if p["ip_version"] == 4:
            offset, more = int(tshark.first(fields, "ip.frag_offset") or 0), int(tshark.first(fields, "ip.flags") or "0", 0) & 1
            name = tshark.first(fields, "ip.id")
        else:
            offset = int(tshark.first(fields, "ipv6.fraghdr.offset") or "0", 0)
            more = tshark.first(fields, "ipv6.fraghdr.more") in ("1", "True")
            name = tshark.first(fields, "ipv6.fraghdr.ident")
        yield bool(offset or more), bool(offset), name


def time_class(ns):
    return min(CLASSES - 1, (ns // 1000).bit_length())


def expected(path):
    sessions, datagrams, rows = {}, {}, {}
    for p, (fragmented, later, name) in zip(tshark.read(path)[0], fragments(path)):
        datagram, unmatched = (p["src"], p["dst"], p["proto"], name), False
        ports = p["sport"], p["dport"]
        if fragmented and not later:
            datagrams[datagram] = ports
        elif later:
            unmatched = datagram not in datagrams
            ports = datagrams.get(datagram, ports)
        p = dict(p, sport=ports[0], dport=ports[1])
        ends = frozenset([(p["src"], p["sport"]), (p["dst"], p["dport"])])
        session = sessions.get((ends, p["proto"]))
        restarted = session is not None and p["time"] > session["last"] + IDLE
        if session is None or restarted:
            dst, method = to_server(p)
            session = sessions[(ends, p["proto"])] = {
                "server": (p["dst"], p["dport"]) if dst else (p["src"], p["sport"]), "method": method, "last": 0}
        session["last"] = max(session["last"], p["time"])
        row = rows.setdefault((p["src"], p["dst"], ports[0], ports[1], p["proto"], p["ip_version"]), {
            "packets": 0, "fragments": 0, "unmatched": 0, "end_reason": "not_ended", "gaps": [0] * CLASSES, "before": None})
        if row["before"] is not None:
            row["gaps"][time_class(max(0, p["time"] - row["before"]))] += 1
        row["before"] = max(row["before"] or 0, p["time"])
        row["packets"] += 1
        row["fragments"] += later
        row["unmatched"] += unmatched
        row["method"] = session["method"]
        row["server"] = "dst_serves" if session["server"] == (p["dst"], p["dport"]) else "src_serves"
        if row["end_reason"] == "not_ended":
            row["end_reason"] = "idle" if restarted else "rst" if p["flags"] & 4 else "fin" if p["flags"] & 1 else "not_ended"
    return rows


def key_of(row):
    return tuple(lab.PROTOCOLS.get(row[k], row[k]) for k in lab.KEY)


def judge(name):
    path = os.path.join(lab.PCAPS, name)
    events = lab.replay(path, POLICY)
    want, got, ends = expected(path), {}, {}
    windows = {e["seq"] for e in lab.of(events, "records", probe="all") if e["rows"]}
    if len(windows) > 1:
        return 0, {}  # longer than a day: rows come in parts
    for event in lab.of(events, "records", probe="all"):
        got.update((key_of(row), row) for row in event["rows"])
    lab.equal(set(want), set(got), name + ": flows")
    for key, row in want.items():
        for field, value in row.items():
            if field != "before":
                lab.equal(value, got[key][field], "%s: %s of %r" % (name, field, key))
        ends[row["end_reason"]] = ends.get(row["end_reason"], 0) + 1
    for event in lab.of(events, "records", probe="both"):
        for row in event["rows"]:
            key = key_of(row)
            one = want.get(key) or want[(key[1], key[0], key[3], key[2]) + key[4:]]
            turned = key not in want
            serves = {"dst_serves": "src_serves", "src_serves": "dst_serves"}[one["server"]] if turned else one["server"]
            lab.equal(serves, row["server"], "%s: both ways: server of %r" % (name, key))
    return len(want), ends


def main():
    total, reasons = 0, {}
    for name in lab.captures():
        flows, ends = judge(name)
        total += flows
        for reason, count in ends.items():
            reasons[reason] = reasons.get(reason, 0) + count
    lab.equal({"not_ended", "fin", "rst", "idle"}, set(reasons), "ends of flows")
    lab.done("%d flows, ended by: %s" % (total, ", ".join("%s %d" % pair for pair in sorted(reasons.items()))))


main()
