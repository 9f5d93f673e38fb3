# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Frames of headers stacked at random, each as its standard says: tags, labels, PPPoE, SNAP, IP with options and extension headers, tunnels
in tunnels, every transport. Rows of outermost and of innermost headers are what tshark reads.

PERILUNE_STACKS: how many frames (1500); PERILUNE_STACKS_SEED: the seed.
"""
import os
import random
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

COUNT = int(os.environ.get("PERILUNE_STACKS", "1500"))
SEED = int(os.environ.get("PERILUNE_STACKS_SEED", "1"))
IPV4, IPV6, VLAN, QINQ, TEB, MPLS, PPPOE = 0x0800, 0x86dd, 0x8100, 0x88a8, 0x6558, 0x8847, 0x8864
PORTS = (7, 9, 12345, 33333, 40000, 60000)  # none that tshark takes for more
rng = random.Random(SEED)


def octets(count):
    return bytes(rng.randrange(256) for _ in range(count))


def transport(six):
    """(protocol, what stands behind the IP header)"""
    ports = struct.pack("!HH", rng.choice(PORTS), rng.choice(PORTS))
    data = octets(rng.randrange(40))
    options = b"\1" * 4 * rng.randrange(10)
    return rng.choice((
        (6, ports + octets(8) + bytes([0x50 + len(options) * 4, rng.randrange(256)]) + octets(2) + bytes(4) + options + data),
        (17, ports + struct.pack("!HH", 8 + len(data), 1) + data),
        (136, ports + struct.pack("!HH", 8, 1) + data),
        (132, ports + octets(4) + bytes(4) + struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65535, 1, 1, 1)),
        (33, ports + bytes((4, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 7)) + bytes(8)),
        (58 if six else 1, bytes((128 if six else 8, 0, 0, 0)) + octets(4) + data),
        (2, struct.pack("!BBHI", 0x16, 0, 0, 0xe0000001)),
        (50, octets(30)),
        (253, data),
        (59, b"") if six else (253, b""),
    ))


def extensions(proto, body):
    """Extension headers in front of it, hop-by-hop the first."""
    if rng.random() < 0.1:  # ends it (RFC 6275, 6.1.1); HIP (RFC 7401, 5.1) alike
        return rng.choice(((135, bytes((59, 1, 0, 0)) + bytes(12)), (139, bytes((59, 4, 1, 0x21)) + bytes(36))))
    for kind in rng.sample((60, 43, 51, 140), rng.choice((0, 0, 0, 1, 2))) + ([0] if rng.random() < 0.2 else []):
        units = rng.randrange(3)
        body = {
            60: bytes((proto, units, 1, 4 + 8 * units)) + bytes(4 + 8 * units),
            43: bytes((proto, 2, 0, 0)) + bytes(20),
            51: bytes((proto, 4, 0, 0)) + octets(20),
            140: bytes((proto, 0, 0x80)) + octets(5),
            0: bytes((proto, units, 1, 4 + 8 * units)) + bytes(4 + 8 * units),
        }[kind] + body
        proto = kind
    return proto, body


def ip(depth):
    """(ethertype, an IP packet with up to so many tunnels)"""
    six = rng.random() < 0.5
    proto, body = tunnel(depth - 1) if depth and rng.random() < 0.75 else transport(six)
    if six:
        proto, body = extensions(proto, body)
        ends = ("2001:db8:%x::%x" % (rng.randrange(65536), rng.randrange(65536)) for _ in range(2))
        start = struct.pack("!IHBB", 6 << 28 | rng.getrandbits(28), len(body), proto, rng.randrange(1, 256))
        return IPV6, start + b"".join(lab.address(end) for end in ends) + body
    options = b"\1" * 4 * rng.choice((0, 0, 0, 1, 4, 9))  # tshark takes no version and length of 0x4f for IP in GTP-U
    start = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, rng.randrange(256), 20 + len(options) + len(body), rng.randrange(65536),
                        rng.choice((0, 0x4000)), rng.randrange(1, 256), proto, 0)
    return IPV4, start + b"\x0a" + octets(3) + b"\x0a" + octets(3) + options + body


def ethernet(kind, body, tags=()):
    stack = b"".join(struct.pack("!HH", tag, rng.randrange(1, 4095)) for tag in tags)
    return b"\2\0\0\0\0\1\2\0\0\0\0\2" + stack + struct.pack("!H", kind) + body


def gre(kind, body):
    if rng.random() < 0.5:
        kind, body = TEB, ethernet(kind, body, rng.choice(((), (VLAN,))))
    flags = rng.choice((0, 0x8000)) | rng.choice((0, 0x2000)) | rng.choice((0, 0x1000))
    return 47, struct.pack("!HH", flags, kind) + octets(4 * bin(flags).count("1")) + body


def over_udp(port, body):
    return 17, struct.pack("!HHHH", rng.randrange(49152, 65535), port, 8 + len(body), 0) + body


def vxlan(kind, body):
    return over_udp(4789, b"\x08\0\0\0" + octets(3) + b"\0" + ethernet(kind, body, rng.choice(((), (VLAN,)))))


def geneve(kind, body):
    options = b"".join(struct.pack("!HBBI", 0x102, rng.randrange(128), 1, 7) for _ in range(rng.randrange(4)))
    if rng.random() < 0.7:
        kind, body = TEB, ethernet(kind, body)
    return over_udp(6081, struct.pack("!BBH", len(options) // 4, 0, kind) + octets(3) + b"\0" + options + body)


def gtp(_, body):
    flags, more = rng.choice(((0x30, b""), (0x31, octets(3) + b"\0"), (0x32, octets(3) + b"\0"), (0x34, octets(3) + b"\x85\1\0\x09\0")))
    return over_udp(2152, struct.pack("!BBH", flags, 255, len(more) + len(body)) + octets(4) + more + body)


def tunnel(depth):
    """(protocol, a tunnel with an IP packet in it)"""
    kind, body = ip(depth)
    how = rng.choice((None, gre, vxlan, geneve, gtp))
    return how(kind, body) if how else (4 if kind == IPV4 else 41, body)


def frame():
    kind, body = ip(rng.choice((0, 0, 1, 2, 3)))
    link = rng.random()
    if link < 0.15:
        labels = [rng.randrange(16, 1 << 20) << 12 | 64 for _ in range(rng.randrange(1, 5))]
        labels[-1] |= 0x100
        kind, body = MPLS, struct.pack("!%dI" % len(labels), *labels) + body
    elif link < 0.25:
        kind, body = PPPOE, struct.pack("!BBHHH", 0x11, 0, 7, 2 + len(body), 0x21 if kind == IPV4 else 0x57) + body
    elif link < 0.3 and len(body) < 1400:
        kind, body = len(body) + 8, b"\xaa\xaa\3\0\0\0" + struct.pack("!H", kind) + body
    return ethernet(kind, body, rng.choice(((), (), (VLAN,), (QINQ, VLAN), (QINQ, VLAN, VLAN)))).ljust(60, b"\0")


def main():
    path = lab.write_pcap("stacks.pcap", [(lab.NS + i * 1000, frame()) for i in range(COUNT)])
    deep = 0
    for features in ("tcp_flags,timing", "tcp_flags,timing,tunnel"):
        packets, frames, _ = tshark.read(path, inner="tunnel" in features)
        lab.equal((COUNT, COUNT), (frames, len(packets)), "frames, and those that are IP as tshark reads them")
        events = lab.replay(path, "--template", "flows", "--set", "key=5tuple", "--features", features)
        lab.conserved(events, features, COUNT)
        have, want = lab.sum_rows(events), tshark.rows(packets)
        for row in have.values():
            row.pop("tunnel", None), row.pop("tunnel_id", None)
        for key in sorted(set(want) | set(have), key=str):
            lab.equal(want.get(key), have.get(key), "seed %d, %s: row %s" % (SEED, features, key))
        deep = sum(p["depth"] > 1 for p in packets)
    if deep < COUNT // 5:
        lab.fail("only %d of %d in tunnels" % (deep, COUNT))
    lab.done("%d frames of random headers, %d of them in tunnels, as tshark reads them" % (COUNT, deep))


main()
