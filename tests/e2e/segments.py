#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What crossed an interface, told from a capture of merged packets.

    segments.py CAPTURE MAC [--mtu N] → JSON: {"ingress": {"packets":…, "skbs":…, "bytes":…}, "egress": …}

A capture on the interface with that link address shows what the tc hooks see: packets of up to 64 kB. Each is as many segments as its TCP payload fills, and
each segment has headers of its own. A full segment is one of --mtu octets (1500).
"""
import argparse
import json
import struct
import sys

TCP = 6


def frames(path):
    with open(path, "rb") as file:
        head = file.read(24)
        order = {b"\xd4\xc3\xb2\xa1": "<", b"\x4d\x3c\xb2\xa1": "<"}[head[:4]]
        while True:
            record = file.read(16)
            if not record:
                return
            length, wire = struct.unpack(order + "8xII", record)
            yield file.read(length), wire


def packet(frame):
    """(octets of the packet, of its IP header, protocol, header octets of its TCP); None when not IP."""
    kind = struct.unpack_from("!H", frame, 12)[0]
    if kind == 0x0800:
        head, total, protocol = (frame[14] & 15) * 4, struct.unpack_from("!H", frame, 16)[0], frame[23]
    elif kind == 0x86DD:
        head, total, protocol = 40, 40 + struct.unpack_from("!H", frame, 18)[0], frame[20]
    else:
        return None
    tcp = (frame[14 + head + 12] >> 4) * 4 if protocol == TCP else 0
    return total, head, protocol, tcp


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("capture")
    parser.add_argument("local", type=lambda text: bytes.fromhex(text.replace(":", "")))
    parser.add_argument("--mtu", type=int, default=1500)
    args = parser.parse_args()
    ways = {way: {"packets": 0, "skbs": 0, "bytes": 0} for way in ("ingress", "egress")}
    for frame, _ in frames(args.capture):
        found = packet(frame)
        if not found:
            sys.exit("not IP: %s" % frame[:32].hex())
        total, head, protocol, tcp = found
        way = ways["egress" if frame[6:12] == args.local else "ingress"]
        segments = 1
        if protocol == TCP:
            payload, full = total - head - tcp, args.mtu - head - tcp
            segments = max(1, -(-payload // full))
        way["packets"] += segments
        way["skbs"] += 1
        way["bytes"] += total + (segments - 1) * (head + tcp)
    print(json.dumps(ways))
    return 0


if __name__ == "__main__":
    sys.exit(main())
