# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""QUIC's long headers are what tshark reads, on every capture; and made ones of both versions, every type, and broken ids."""
import os
import struct
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

KEY = ("src", "dst", "sport", "dport", "version", "dcid", "dcid_length", "scid", "scid_length", "ip_version")
KINDS = ("initials", "zero_rtts", "handshakes", "retries", "negotiations")
COUNTS = ("packets", "broken") + KINDS
V2 = 0x6b3343cf
VERSIONS = {0: "negotiation", 1: "quic_v1", V2: "quic_v2"}
V2_TYPES = {1: 0, 2: 1, 3: 2, 0: 3}  # RFC 9369, 3.2


def connection_id(text):
    text = (text or "").replace(":", "")
    return text.ljust(40, "0"), len(text) // 2


def expected(path):
    rows = {}
    for fields in tshark.lines(path):
        p = tshark.packet(fields)
        if not p or p["depth"] != 1 or tshark.first(fields, "quic.header_form") not in ("1", "True"):
            continue
        version = int(tshark.first(fields, "quic.version"), 0)
        if version == V2:
            kind = V2_TYPES[int(tshark.first(fields, "quic.long.packet_type_v2") or tshark.first(fields, "quic.long.packet_type"), 0)]
        else:
            kind = int(tshark.first(fields, "quic.long.packet_type"), 0) if version else 4
        key = (p["src"], p["dst"], p["sport"], p["dport"], VERSIONS.get(version, version)) + connection_id(tshark.first(fields, "quic.dcid")) + connection_id(
            tshark.first(fields, "quic.scid")) + (p["ip_version"],)
        row = rows.setdefault(key, dict.fromkeys(COUNTS, 0))
        row["packets"] += 1
        row[KINDS[kind]] += 1
    return rows


def seen(path, *options):
    rows, loss = {}, Counter()
    for event in lab.of(lab.replay(path, "--template", "quic", "--set", "window=24h", "--set", "key=" + ",".join(KEY[:-1]), *options), "records"):
        loss.update(event["loss"])
        for r in event["rows"]:
            r.update(dcid=r["dcid"].replace(":", ""), scid=r["scid"].replace(":", ""))
            row = rows.setdefault(tuple(r[k] for k in KEY), dict.fromkeys(COUNTS, 0))
            for field in COUNTS:
                row[field] += r[field]
    return rows, loss


def long_header(first, version, dcid, scid, rest=bytes(30)):
    return struct.pack(">BIB", first, version, len(dcid)) + dcid + bytes([len(scid)]) + scid + rest


def made():
    """(payload, port, what it counts as, besides `packets`; None: it is none)"""
    ids = (b"\x11" * 8, b"\x22" * 20)
    plan = [(long_header(0xc0 | kind << 4, 1, *ids), 4433, [KINDS[kind]]) for kind in range(4)]
    plan += [(long_header(0xc0 | kind << 4, V2, *ids), 4433, [KINDS[V2_TYPES[kind]]]) for kind in range(4)]
    plan += [(long_header(0xc0, 0xff00001d, b"", b""), 4433, ["initials"]), (long_header(0x80, 0, *ids), 443, ["negotiations"]),
             (long_header(0xc0, 0x1a2a3a4a, *ids), 443, ["initials"]), (long_header(0xc0, 0x1a2a3a4a, *ids), 4433, None),
             (long_header(0x80, 0, *ids), 4433, None), (long_header(0x40, 1, *ids), 443, None), (b"\xc0\0\0\0\1", 443, None),
             (long_header(0xc0, 1, b"\x11" * 21, b""), 443, ["initials", "broken"]),
             (long_header(0xc0, 1, b"\x11" * 8, b"\x22" * 8, b"")[:-1], 443, ["initials", "broken"]),
             (long_header(0xc0, 1, b"\x11" * 8, b"", b"")[:-1], 443, ["initials", "broken"])]
    return plan


def main():
    packets = Counter()
    for name in lab.captures():
        want, (rows, loss) = expected(os.path.join(lab.PCAPS, name)), seen(os.path.join(lab.PCAPS, name))
        lab.equal(want, rows, name)
        lab.equal(0, loss["map_full"], name + ": lost")
        for row in want.values():
            packets.update(row)
    frames = []
    for payload, port, what in made():
        for frame in (lab.ethernet(0x0800, lab.ipv4("10.0.0.1", "10.0.0.2", 17, lab.udp(5000, port, payload))),
                      lab.ethernet(0x86dd, lab.ipv6("fd00::1", "fd00::2", 17, lab.udp(port, 5000, payload)))):
            rows, _ = seen(lab.write_pcap("made.pcap", [(lab.NS, frame)]))
            counts = {k for row in rows.values() for k, v in row.items() if v}
            lab.equal(set(what) | {"packets"} if what else set(), counts, "made: %r" % payload)
            frames += [frame] if what else []
    rows, loss = seen(lab.write_pcap("made.pcap", [(lab.NS + i, frame) for i, frame in enumerate(frames)]), "--set", "entries=1")
    lab.equal(len(frames), loss["map_full"] + sum(row["packets"] for row in rows.values()), "rows + other")
    if not packets["initials"] or not packets["handshakes"]:
        lab.fail("no capture has them: %r" % packets)
    lab.done("%d long headers as tshark reads them, %d made ones" % (packets["packets"], len(frames)))


main()
