# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Sessions, their server and how it was found, and each way's packets and bits are what tshark's packets say by the rules of the
manifest, on every capture; and sessions that were idle start anew, also when their windows are apart."""
import ipaddress
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

IDLE = 60 * lab.NS
KEY = ("client", "server", "client_port", "server_port", "proto", "ip_version")
COUNTS = ("packets", "client_packets", "client_bits", "server_packets", "server_bits", "restarts")


def to_server(p):
    """(whether the packet goes to the server, how that is known)"""
    if p["proto"] == 6 and p["flags"] & 2:
        return (False, "syn_ack") if p["flags"] & 16 else (True, "syn")
    if p["sport"] == p["dport"]:
        return True, "first_packet"
    known = (p["sport"] < 1024) != (p["dport"] < 1024)
    return p["dport"] < p["sport"], "well_known_port" if known else "lower_port"


def expected(packets):
    sessions, rows = {}, {}
    for p in packets:
        ends = [(int(ipaddress.ip_address(p[a])), p[a], p[port]) for a, port in (("src", "sport"), ("dst", "dport"))]
        name = (tuple(sorted(ends)), p["proto"], p["ip_version"])
        session, restarted = sessions.get(name), False
        if session and p["time"] > session["last"] + IDLE:
            session, restarted = None, True
        if not session:
            dst, method = to_server(p)
            session = sessions[name] = {"server": ends[1] if dst else ends[0], "client": ends[0] if dst else ends[1], "method": method,
                                        "start": p["time"], "last": p["time"], "same": ends[0] == ends[1]}
        session["last"] = max(session["last"], p["time"])
        client, server = session["client"], session["server"]
        row = rows.setdefault((client[1], server[1], client[2], server[2], p["proto"], p["ip_version"]),
                              dict(dict.fromkeys(COUNTS, 0), start=session["start"], last=0))
        side = "client" if ends[0] == client else "server"
        row["packets"] += 1
        row[side + "_packets"] += 1
        row[side + "_bits"] += 8 * p["bytes"]
        row["restarts"] += restarted
        row["method"] = session["method"]
        row["start"], row["last"] = min(row["start"], session["start"]), max(row["last"], p["time"])
    return rows


def seen(path, *options):
    rows, lost = {}, 0
    for event in lab.of(lab.replay(path, "--template", "cryptomining", *options), "records"):
        lost += event["loss"]["map_full"]
        for r in event["rows"]:
            start, last = lab.ns_of(r["start"]), lab.ns_of(r["last"])
            row = rows.setdefault(tuple(lab.PROTOCOLS.get(r[k], r[k]) for k in KEY), dict(dict.fromkeys(COUNTS, 0), start=start, last=last))
            for name in COUNTS:
                row[name] += r[name]
            row["method"] = r["method"]
            row["start"], row["last"] = min(row["start"], start), max(row["last"], last)
    return rows, lost


def restarts():
    """A session whose client sends every 40 s for three packets, then after 61 s and, last, as a SYN from the other end."""
    def frame(back, flags):
        ends = ("10.0.0.2", "10.0.0.1") if back else ("10.0.0.1", "10.0.0.2")
        ports = (3333, 40000) if back else (40000, 3333)
        return lab.ethernet(0x0800, lab.ipv4(*ends, 6, lab.tcp(*ports, flags)))
    times = [0, 40, 80, 141, 141, 300]
    frames = [frame(False, 2), frame(False, 16), frame(True, 16), frame(False, 16), frame(True, 16), frame(True, 2)]
    path = lab.write_pcap("idle.pcap", [((1000 + at) * lab.NS, data) for at, data in zip(times, frames)])
    rows, _ = seen(path)
    there, other_way = ("10.0.0.1", "10.0.0.2", 40000, 3333, 6, 4), ("10.0.0.2", "10.0.0.1", 3333, 40000, 6, 4)
    lab.equal({there, other_way}, set(rows), "sessions")
    lab.equal((5, 3, 2, 1), tuple(rows[there][n] for n in ("packets", "client_packets", "server_packets", "restarts")), "first session")
    lab.equal((1, 1, "syn"), tuple(rows[other_way][n] for n in ("packets", "restarts", "method")), "when the ends changed places")
    lab.equal("lower_port", rows[there]["method"], "after it was idle")


def main():
    methods, packets = {}, 0
    for name in lab.captures():
        path = os.path.join(lab.PCAPS, name)
        read = tshark.read(path)[0]
        want = expected(read)
        rows, lost = seen(path, "--set", "window=24h", "--set", "entries=65536")
        lab.equal(want, rows, name)
        lab.equal(0, lost, name + ": lost")
        packets += len(read)
        for row in want.values():
            methods[row["method"]] = methods.get(row["method"], 0) + 1
    path = os.path.join(lab.PCAPS, "wikipedia.pcap")
    lab.equal(expected(tshark.read(path)[0]), seen(path, "--set", "window=100ms")[0], "sessions over many windows")
    rows, lost = seen(path, "--set", "entries=4", "--set", "sessions=4")
    lab.equal(len(tshark.read(path)[0]), lost + sum(row["packets"] for row in rows.values()), "rows + other")
    restarts()
    lab.equal(5, len(methods), "every rule found a server: %r" % methods)
    lab.done("%d packets; sessions by rule: %s" % (packets, ", ".join("%s %d" % pair for pair in sorted(methods.items()))))


main()
