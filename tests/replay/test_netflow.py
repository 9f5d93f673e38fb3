# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Flow records are what tshark reads, on every capture; and what nfdump's own collector makes of a capture, record by record."""
import os
import subprocess
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

KEY = ("src", "dst", "sport", "dport", "proto", "tos", "ip_version")
PLAIN = "wikipedia.pcap"  # Ethernet, IP, TCP and UDP, and nothing in tunnels: nothing that two collectors may take differently


def key_of(row):
    return tuple(lab.PROTOCOLS.get(row[k], row[k]) for k in KEY)


def seen(path, *options):
    rows, lost = {}, 0
    for event in lab.of(lab.replay(path, "--template", "netflow", "--set", "window=24h", *options), "records"):
        lost += event["loss"]["map_full"]
        for r in event["rows"]:
            lab.equal(1, r["flows"], "flows of a record")
            first, last = lab.ns_of(r["first"]), lab.ns_of(r["last"])
            lab.equal(last - first, r["duration"], "duration")
            row = rows.setdefault(key_of(r), {"packets": 0, "bytes": 0, "tcp_flags": 0, "first": first, "last": last})
            row["packets"] += r["packets"]
            row["bytes"] += r["bytes"]
            row["tcp_flags"] |= int(r["tcp_flags"], 16)
            row["first"], row["last"] = min(row["first"], first), max(row["last"], last)
    return rows, lost


def expected(path):
    rows = {}
    for p in tshark.read(path)[0]:
        row = rows.setdefault(tuple(p[k] for k in KEY), {"packets": 0, "bytes": 0, "tcp_flags": 0, "first": p["time"], "last": p["time"]})
        row["packets"] += 1
        row["bytes"] += p["bytes"]
        row["tcp_flags"] |= p["flags"]
        row["first"], row["last"] = min(row["first"], p["time"]), max(row["last"], p["time"])
    return rows


def nfdump(path):
    """What nfpcapd collects of the capture: { (src, dst, sport, dport, proto): Counter }"""
    into = os.path.join(lab.OUT, "nf")
    os.makedirs(into)
    subprocess.run(["nfpcapd", "-r", path, "-l", into], stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
    run = subprocess.run(["nfdump", "-q", "-R", into, "-N", "-6", "-o", "fmt:%sa|%da|%sp|%dp|%pr|%pkt|%byt"],
                         stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=60)
    rows = {}
    for line in run.stdout.decode().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 7:
            continue
        row = rows.setdefault((cells[0], cells[1], int(cells[2]), int(float(cells[3])), int(cells[4])), Counter())
        row["packets"] += int(cells[5])
        row["bytes"] += int(cells[6])
    return rows


def against_nfdump():
    path = os.path.join(lab.PCAPS, PLAIN)
    ours = {}
    for key, row in seen(path)[0].items():
        if key[4] in (6, 17):
            into = ours.setdefault(key[:5], Counter())
            into["packets"] += row["packets"]
            into["bytes"] += row["bytes"]
    theirs = {key: row for key, row in nfdump(path).items() if key[4] in (6, 17)}
    lab.equal(theirs, ours, PLAIN + ": nfdump")
    return len(ours)


def main():
    records = 0
    for name in lab.captures():
        path = os.path.join(lab.PCAPS, name)
        want = expected(path)
        rows, lost = seen(path)
        lab.equal(want, rows, name)
        lab.equal(0, lost, name + ": lost")
        records += len(want)
    path = os.path.join(lab.PCAPS, PLAIN)
    rows, lost = seen(path, "--set", "entries=4")
    lab.equal(sum(row["packets"] for row in expected(path).values()), lost + sum(row["packets"] for row in rows.values()), "rows + other")
    if not lost:
        lab.fail("everything had room in four rows")
    lab.done("%d flow records as tshark reads them, %d of them as nfdump collects them" % (records, against_nfdump()))


main()
