# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Connections as tshark reads them, on every capture: flags, zero windows, times from SYN to SYN/ACK and round trips by time stamps from
the packets it shows; retransmissions beside its own analysis."""
import os
import struct
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

KEY = ("client", "server", "client_port", "server_port", "ip_version")
CLASSES = 25
MOD = 1 << 32
IDLE = 60 * lab.NS
COUNTS = ("packets", "bytes", "syns", "syn_acks", "fins", "resets", "zero_windows", "retransmissions", "out_of_order", "gaps", "keep_alives")
LISTS = ("handshakes", "server_rtts", "client_rtts")
MAXIMA = ("handshake_max", "server_rtt_max", "client_rtt_max")
# Fields that are tshark's own judgement, and where another one is right, too; the rest has to be equal.
ANALYSIS = {"retransmissions": "tcp.analysis.retransmission", "keep_alives": "tcp.analysis.keep_alive"}


def behind(a, b):
    """a - b, as sequence numbers go round."""
    return (a - b + MOD // 2) % MOD - MOD // 2


def time_class(ns):
    return min(CLASSES - 1, (ns // 1000).bit_length())


def number(fields, name):
    value = tshark.first(fields, name)
    return None if value is None else int(value, 0)


class Way:
    def __init__(self):
        self.syn = self.stamped = self.stamp = self.last = self.next = self.hole = None


def order(way, p, seq, length):
    """What the packet is, by its sequence numbers alone."""
    if p["flags"] & 4 or seq is None:
        return None
    length += bool(p["flags"] & 2) + (p["flags"] & 1)
    end = (seq + length) % MOD
    if way.next is None or (p["flags"] & 18 == 2 and (seq + 1) % MOD != way.next):
        way.next, way.hole = end, None
        return None
    if length <= 1 and (seq + 1) % MOD == way.next and not p["flags"] & 3:
        return "keep_alives"
    if not length:
        return None
    if behind(seq, way.next) > 0:
        way.hole = [way.next, seq, p["time"]]
        way.next = end
        return "gaps"
    if seq == way.next:
        way.next = end
        return None
    what = "retransmissions"
    if way.hole and behind(seq, way.hole[0]) >= 0 and behind(end, way.hole[1]) <= 0 and p["time"] - way.hole[2] < 3000000:
        what = "out_of_order"
        if seq == way.hole[0]:
            way.hole[0] = end
        if way.hole[0] == way.hole[1]:
            way.hole = None
    if behind(end, way.next) > 0:
        way.next = end
    return what


def stamps(way, back, p, value, echo, length):
    """The round trip that this packet's time stamps end, ns; or None."""
    rtt = None
    if value is None or p["flags"] & 4:
        return None
    if p["flags"] & 16 and back and back.stamped is not None and behind(echo, back.stamp) >= 0:
        if echo == back.stamp and p["time"] > back.stamped:
            rtt = p["time"] - back.stamped
        back.stamped = None
    if not length and not p["flags"] & 3:
        return rtt
    if way.last is not None and behind(value, way.last) <= 0:
        return rtt
    way.last = value
    if way.stamped is None:
        way.stamp, way.stamped = value, p["time"]
    return rtt


def handshake(way, back, p):
    if p["flags"] & 18 == 2 and way.syn is None:
        way.syn = p["time"]
    if p["flags"] & 18 == 18 and back and back.syn is not None and p["time"] > back.syn:
        took, back.syn = p["time"] - back.syn, None
        return took
    return None


def to_server(p):
    if p["flags"] & 2:
        return not p["flags"] & 16
    return p["sport"] == p["dport"] or p["dport"] < p["sport"]


def expected(path):
    rows, ways, sessions, analysis = {}, {}, {}, Counter()
    for fields in tshark.lines(path):
        p = tshark.packet(fields)
        if not p or p["proto"] != 6 or int(tshark.first(fields, "ip.frag_offset") or 0):
            continue
        ends = ((p["src"], p["sport"]), (p["dst"], p["dport"]))
        session = sessions.get(frozenset(ends))
        if session is None or p["time"] > session["last"] + IDLE:
            session = sessions[frozenset(ends)] = {"server": ends[1] if to_server(p) else ends[0], "last": 0}
        session["last"] = max(session["last"], p["time"])
        is_dst = session["server"] == ends[1]
        client, server = ends if is_dst else ends[::-1]
        row = rows.setdefault((client[0], server[0], client[1], server[1], p["ip_version"]), Counter(
            {**dict.fromkeys(COUNTS + MAXIMA, 0), **{name: [0] * CLASSES for name in LISTS}}))
        readable = p["depth"] == 1 and fields["tcp.window_size_value"]
        way, back = ways.setdefault(ends, Way()), ways.get(ends[::-1])
        length = number(fields, "tcp.len") or 0
        took = handshake(way, back, p)
        rtt = stamps(way, back, p, number(fields, "tcp.options.timestamp.tsval"), number(fields, "tcp.options.timestamp.tsecr"), length) \
            if readable else None
        what = order(way, p, number(fields, "tcp.seq_raw"), length) if readable else None
        row["packets"] += 1
        row["bytes"] += p["bytes"]
        row["syns"] += p["flags"] & 18 == 2
        row["syn_acks"] += p["flags"] & 18 == 18
        row["fins"] += p["flags"] & 1
        row["resets"] += bool(p["flags"] & 4)
        row["zero_windows"] += bool(fields["tcp.analysis.zero_window"])
        if what:
            row[what] += 1
        side = "client" if is_dst else "server"
        for name, ns in (("handshake", took), (side + "_rtt", rtt)):
            if ns is not None:
                row[name + "s"][time_class(ns)] += 1
                row[name + "_max"] = max(row[name + "_max"], ns)
        for name, field in ANALYSIS.items():
            analysis[name] += bool(fields[field])
    return rows, analysis


def seen(path, *options):
    rows, lost = {}, 0
    events = lab.replay(path, "--template", "tcp", "--features", "handshake,rtt,loss", "--set", "key=client,server,client_port,server_port",
                        "--set", "window=24h", *options)
    for event in lab.of(events, "records"):
        lost += event["loss"]["map_full"]
        for r in event["rows"]:
            row = rows.setdefault(tuple(r[k] for k in KEY), Counter(
                {**dict.fromkeys(COUNTS + MAXIMA, 0), **{name: [0] * CLASSES for name in LISTS}}))
            for name in COUNTS:
                row[name] += r[name]
            for name in LISTS:
                row[name] = [a + b for a, b in zip(row[name], r[name])]
            for name in MAXIMA:
                row[name] = max(row[name], r[name])
    return rows, lost


def segment(seq, length, window=1000):
    header = struct.pack(">HHIIBBHHH", 40000, 80, seq % MOD, 1, 5 << 4, 16, window, 0, 0)
    return lab.ethernet(0x0800, lab.ipv4("10.0.0.1", "10.0.0.2", 6, header + bytes(length)))


def made():
    """Around the end of sequence numbers: in order, one swapped with the next within 1 ms, one that was lost and comes 10 ms later, one
    again, a keep-alive."""
    first = MOD - 15
    plan = [(0, 0, 10), (1, 20, 10), (2, 10, 10), (3, 30, 10), (4, 50, 10), (14, 40, 10), (15, 60, 10), (16, 60, 10), (17, 69, 1)]
    frames = [segment(first + offset, length) for _, offset, length in plan] + [segment(first + 70, 0, 0)]
    return lab.write_pcap("made.pcap", [(1000 * lab.NS + at * 1000000, data) for at, data in zip([at for at, _, _ in plan] + [20], frames)])


def main():
    total, theirs = Counter(), Counter()
    for path in [os.path.join(lab.PCAPS, name) for name in lab.captures()] + [made()]:
        name = os.path.basename(path)
        want, analysis = expected(path)
        rows, lost = seen(path)
        lab.equal(set(want), set(rows), name + ": connections")
        for key, row in want.items():
            for field, value in row.items():
                lab.equal(value, rows[key][field], "%s: %s of %r" % (name, field, key))
            total.update({k: v for k, v in row.items() if k in COUNTS})
            for field in LISTS:
                total[field] += sum(row[field])
        theirs.update(analysis)
        lab.equal(0, lost, name + ": lost")
    (row,) = seen(made())[0].values()
    lab.equal((1, 2, 2, 1), tuple(row[k] for k in ("out_of_order", "gaps", "retransmissions", "keep_alives")), "made segments")
    for field in ("handshakes", "server_rtts", "client_rtts", "retransmissions", "out_of_order", "zero_windows"):
        if not total[field]:
            lab.fail("no capture has " + field)
    path = os.path.join(lab.PCAPS, "wikipedia.pcap")
    rows, lost = seen(path, "--set", "entries=2", "--set", "sessions=2")
    lab.equal(sum(row["packets"] for row in expected(path)[0].values()), lost + sum(row["packets"] for row in rows.values()), "rows + other")
    lab.done("%d packets, %d handshakes, %d round trips; %d retransmissions (tshark's analysis: %d)" % (
        total["packets"], total["handshakes"], total["server_rtts"] + total["client_rtts"], total["retransmissions"],
        theirs["retransmissions"]))


main()
