# SPDX-License-Identifier: Apache-2.0
"""The table of packets on a wire.

    live.py policy                      prints the policy
    live.py count HOOK HOW              prints how many packets this hook sees
    live.py send HOOK IFACE HOW         sends them
    live.py compare HOOK FILE HOW [blind]
                                        holds a run's events against the table; `blind`: a program that pulls nothing, so no row

HOW: `plain`; `ring`: so that only the link header is linear (PACKET_TX_RING); `segments`: not the table, but datagrams that are
cut into ten by the last one who can (UDP_SEGMENT).
"""
import mmap
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import table  # noqa: E402
import lab  # noqa: E402

SOL_PACKET, PACKET_VERSION, PACKET_TX_RING, TPACKET_V2 = 263, 10, 13, 1
SOL_UDP, UDP_SEGMENT = 17, 103
SEND_REQUEST, AVAILABLE = 1, 0
SLOT, HEADER = 4096, 32  # of struct tpacket2_hdr, behind which the frame begins


def seen_by(hook):
    return [case for case in table.CASES if hook in case.hooks]


def send_plain(sock, frames):
    for frame in frames:
        if sock.send(frame) != len(frame):
            lab.fail("a frame was not sent whole")


def send_ring(sock, frames):
    sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V2)
    count = 16
    sock.setsockopt(SOL_PACKET, PACKET_TX_RING, struct.pack("IIII", SLOT, count, SLOT, count))
    ring = mmap.mmap(sock.fileno(), SLOT * count)
    for i, frame in enumerate(frames):
        at = i % count * SLOT
        ring[at + HEADER:at + HEADER + len(frame)] = frame
        struct.pack_into("III", ring, at, SEND_REQUEST, len(frame), len(frame))
        sock.send(b"")  # until it is on its way
        status = struct.unpack_from("I", ring, at)[0]
        if status != AVAILABLE:
            lab.fail("frame %d of the ring was not sent: status %d" % (i, status))


def send_segments():
    for family, source, target in ((socket.AF_INET, "A4", "B4"), (socket.AF_INET6, "A6", "B6")):
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((os.environ[source], 5000))
            sock.connect((os.environ[target], 6000))
            sock.setsockopt(SOL_UDP, UDP_SEGMENT, 1000)
            lab.equal(9500, sock.send(b"x" * 9500), "octets sent")


def compare_segments(hook, events):
    """Ten packets of 1000 octets and the last of 500, each with headers of its own, and yet one skb."""
    lab.conserved(events, hook + ", segments", 20)
    expected = {}
    for version, header in ((4, 28), (6, 48)):
        key = (os.environ["A%d" % version], os.environ["B%d" % version], 5000, 6000, 17, version)
        expected[key] = dict.fromkeys(table.FLAGS + ("syn_ack",), 0)
        expected[key].update(packets=10, skbs=1, bytes=9500 + 10 * header)
    lab.equal(expected, lab.sum_rows(events, "rows"), hook + ": rows of segments")
    totals = table.counter(events)
    lab.equal((20, 2, 9500 * 2 + 10 * (28 + 48 + 14 + 14)), (totals["packets"], totals["skbs"], totals["frame_bytes"]),
              hook + ": counter of segments")


def send(hook, iface, how):
    if how == "segments":
        return send_segments()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock:
        sock.bind((iface, 0))
        {"plain": send_plain, "ring": send_ring}[how](sock, [case.frame for case in seen_by(hook)])
    return None


def compare(hook, path, how, blind):
    with open(path, "rb") as file:
        events = lab.read_events(file.read(), os.path.basename(path))
    if how == "segments":
        return compare_segments(hook, events)
    rows, reasons, packets, octets = table.expected(hook)
    lab.conserved(events, hook, packets)
    summary, have = lab.of(events, "summary")[0], lab.sum_rows(events, "rows")
    if blind:
        lab.equal({}, have, hook + ": rows of a program that sees no header")
        lab.equal(packets, sum(summary["not_parsed_by"].values()), hook + ": not parsed")
        if summary["not_parsed_by"]["truncated"] < 100:
            lab.fail("only %(truncated)d packets are not linear" % summary["not_parsed_by"])
        return None
    for case in seen_by(hook):
        key = case.key(hook)
        if key:
            lab.equal(rows[key], have.get(key), "%s: %s: the row %s" % (hook, case.what, key))
    lab.equal(set(rows), set(have), hook + ": rows")
    lab.equal(reasons, summary["not_parsed_by"], hook + ": not parsed")
    totals = table.counter(events)
    lab.equal((packets, packets, octets), (totals["packets"], totals["skbs"], totals["frame_bytes"]), hook + ": counter")
    for flag in table.FLAGS:
        lab.equal(sum(row[flag] for row in rows.values()), totals[flag], "%s: counter's %s" % (hook, flag))
    return None


def main(command, *args):
    if command == "policy":
        print(table.POLICY)
    elif command == "count":
        print(20 if args[1] == "segments" else len(seen_by(args[0])))
    elif command == "send":
        send(*args)
    else:
        compare(*args[:3], "blind" in args)


main(*sys.argv[1:])
