# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""The first packets of every session, in order, field by field as tshark reads them; and records + what was left out = packets."""
import os
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

SESSION = ("src", "dst", "sport", "dport", "proto", "ip_version")
LIMIT = 3
# Captures that are run with the other kind of map too.
RINGED = ("wikipedia.pcap", "ipv6-fragmented-dns.pcap", "tcp_retransmit-fast009.pcap", "lucid_CIC-DDoS-2019-SynFlood.pcap")


def number(fields, name):
    return int(tshark.first(fields, name) or "0", 0)


def expected(path):
    """[record] of every packet, as tshark reads its outermost headers."""
    for fields in tshark.lines(path):
        p = tshark.packet(fields)
        if not p:
            continue
        record = {k: p[k] for k in SESSION}
        record.update(time=p["time"], bytes=p["bytes"], tcp_flags=p["flags_text"])
        depth = p["depth"]
        if p["ip_version"] == 4:
            record["ip_flags"] = tshark.first(fields, "ip.flags")
            record["fragment"] = 8 * number(fields, "ip.frag_offset")  # tshark says it in units of 8
        layers = tshark.first(fields, "frame.protocols").split(":")
        if depth == 1 and p["proto"] == 6 and "tcp" in layers and fields["tcp.window_size_value"]:
            record.update(ack=number(fields, "tcp.ack_raw"), window=number(fields, "tcp.window_size_value"))
            if not number(fields, "ip.flags") & 1:  # of a fragment, tshark does not say what it carries
                record["payload"] = number(fields, "tcp.len")
        if depth == 1 and p["proto"] == 17 and "udp" in layers:
            record["udp_length"] = number(fields, "udp.length")
        for proto, name in ((1, "icmp"), (58, "icmpv6"), (2, "igmp")):
            if p["proto"] == proto and name in layers and fields[name + ".type"]:
                record["icmp_type"] = number(fields, name + ".type")
        yield record


def seen(path, *options):
    events = lab.replay(path, "--template", "ddos", "--set", "window=24h", *options)
    loss, records = Counter(), []
    for event in lab.of(events, "records"):
        lab.equal(0, event["omitted"], "omitted")
        loss.update(event["loss"])
        records += event["rows"]
    summary = lab.of(events, "summary")[0]
    lab.equal(summary["packets"], sum(r["packets"] for r in records) + loss["limited"] + loss["map_full"] + loss["ring_full"] + loss["not_parsed"],
              os.path.basename(path) + ": records + what was left out")
    for r in records:
        r["proto"], r["time"] = lab.PROTOCOLS.get(r["proto"], r["proto"]), lab.ns_of(r["time"])
    return records, loss


# What is cut short, or has lengths that cannot be, is read as far as it goes: (capture, field).
EXCEPTIONS = {
    # Captured up to the middle of ICMP's header: tshark reads the type, the parser only whole headers.
    ("trunc_icmp-header-trunc.pcap", "icmp_type"),
}


def main():
    compared = 0
    for name in lab.captures():
        path = os.path.join(lab.PCAPS, name)
        want = list(expected(path))
        records, loss = seen(path, "--set", "packets=1000000")
        lab.equal((len(want), 0, 0), (len(records), loss["limited"], loss["map_full"]), name + ": records")
        for i, (w, r) in enumerate(zip(want, records)):
            for field, value in w.items():
                if value != r[field] and (name, field) not in EXCEPTIONS:
                    lab.fail("%s, packet %d: %s: tshark says %r, the record %r: %r" % (name, i, field, value, r[field], r))
            compared += len(w)
        if name in RINGED:
            lab.equal(records, seen(path, "--set", "packets=1000000", "--features", "ring")[0], name + ": in a ring buffer")
    path = os.path.join(lab.PCAPS, "wikipedia.pcap")
    want = list(expected(path))
    first, count = [], Counter()
    for record in want:
        session = tuple(record[k] for k in SESSION)
        count[session] += 1
        if count[session] <= LIMIT:
            first.append((session, record["time"]))
    records, loss = seen(path, "--set", "packets=%d" % LIMIT)
    lab.equal(first, [(tuple(r[k] for k in SESSION), r["time"]) for r in records], "the first of every session")
    lab.equal(len(want) - len(first), loss["limited"], "beyond the first")
    for option, features, lost in (("entries=2", "", "map_full"), ("records=5", "", "map_full"), ("entries=2", "ring", "map_full"),
                                   ("records=5", "ring", "ring_full")):
        records, loss = seen(path, "--set", option, *(["--features", features] if features else []))
        if not loss[lost]:
            lab.fail("everything had room with %s %s" % (option, features))
    lab.done("%d fields of records as tshark reads them; sessions limited to %d" % (compared, LIMIT))


main()
