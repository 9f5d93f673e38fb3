# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Who claims which address, by ARP and by neighbour discovery, is what tshark reads, on every capture and on made ones: two MACs that
claim one address, tags, SNAP, probes, announcements, what cannot be read."""
import ipaddress
import os
import struct
import subprocess
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

FIELDS = ["frame.protocols", "eth.src", "arp.opcode", "arp.src.proto_ipv4", "arp.dst.proto_ipv4", "arp.src.hw_mac", "ipv6.src",
          "icmpv6.type", "icmpv6.nd.ns.target_address", "icmpv6.nd.na.target_address", "icmpv6.nd.na.flag.s", "icmpv6.opt.src_linkaddr",
          "icmpv6.opt.target_linkaddr"]
COUNTS = ("packets", "requests", "replies", "gratuitous", "probes", "broken", "mismatched")
# ARP inside a tunnel: the template reads outermost headers only, as its manifest says; tshark reads on.
TUNNELLED = {"tunnels_vxlan.pcap": 2}
NOBODY = "00:00:00:00:00:00"


def tshark(path):
    command = ["tshark", "-n", "-r", path, "-T", "fields", "-E", "occurrence=f", "-E", "separator=/t"]
    for field in FIELDS:
        command += ["-e", field]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    for line in run.stdout.decode().split("\n")[:-1]:
        yield dict(zip(FIELDS, line.split("\t")))


def tunnel(layers):
    """Whether IP stands in front of what a frame is about, other than the one IP header of ICMPv6."""
    return sum(layer in ("ip", "ipv6") for layer in layers) > ("arp" not in layers)


def expected(path):
    rows, tunnelled = {}, 0
    for f in tshark(path):
        layers = f["frame.protocols"].split(":")
        kind = f["icmpv6.type"]
        if ("arp" in layers or kind in ("135", "136")) and tunnel(layers):
            tunnelled += 1
            continue
        if "arp" in layers:
            addr, mac, version = f["arp.src.proto_ipv4"], f["arp.src.hw_mac"], 4
            request, reply = f["arp.opcode"] == "1", f["arp.opcode"] == "2"
            broken = not f["arp.dst.proto_ipv4"] or not mac
            if broken:
                addr, mac, request, reply = "::", NOBODY, False, False
            same = addr == f["arp.dst.proto_ipv4"]
            gratuitous = same and addr != "0.0.0.0" and (request or reply)
            probe = request and addr == "0.0.0.0" and not same
        elif kind in ("135", "136"):
            request, reply, version, broken = kind == "135", kind == "136", 6, False
            addr = f["ipv6.src"] if request else f["icmpv6.nd.na.target_address"]
            mac = f["icmpv6.opt.src_linkaddr" if request else "icmpv6.opt.target_linkaddr"] or NOBODY
            gratuitous, probe = reply and f["icmpv6.nd.na.flag.s"] not in ("1", "True"), request and addr == "::"
        else:
            continue
        row = rows.setdefault((str(ipaddress.ip_address(addr)), mac, version), Counter())
        mismatched = mac not in (NOBODY, f["eth.src"])
        for name, value in zip(COUNTS, (1, request, reply, gratuitous, probe, broken, mismatched)):
            row[name] += value
    lab.equal(TUNNELLED.get(os.path.basename(path), 0), tunnelled, os.path.basename(path) + ": inside tunnels")
    return {key: {name: row[name] for name in COUNTS} for key, row in rows.items()}


def seen(path, *options):
    rows, lost = {}, 0
    for event in lab.of(lab.replay(path, "--template", "arp", "--features", "sender", *options), "records"):
        lost += event["loss"]["map_full"]
        for r in event["rows"]:
            row = rows.setdefault((r["addr"], r["mac"], r["ip_version"]), Counter())
            for name in COUNTS:
                row[name] += r[name]
    return {key: {name: row[name] for name in COUNTS} for key, row in rows.items()}, lost


MAC = [bytes([2, 0, 0, 0, 0, i]) for i in range(4)]


def arp(op, mac, src, dst, hardware=1):
    return struct.pack(">HHBBH6s4s6s4s", hardware, 0x0800, 6, 4, op, mac, lab.address(src), bytes(6), lab.address(dst))


def neighbour(kind, flags, src, target, option=b""):
    body = struct.pack(">BBHI16s", kind, 0, 0, flags << 24, lab.address(target)) + option
    return lab.ethernet(0x86dd, lab.ipv6(src, "ff02::1", 58, body))


def link(kind, mac):
    return struct.pack(">BB6s", kind, 1, mac)


def made():
    snap = arp(1, MAC[1], "10.0.0.9", "10.0.0.2")
    return [
        lab.ethernet(0x0806, arp(2, MAC[1], "10.0.0.1", "10.0.0.7")), lab.ethernet(0x0806, arp(2, MAC[2], "10.0.0.1", "10.0.0.7")),
        lab.ethernet(0x0806, arp(1, MAC[1], "0.0.0.0", "10.0.0.3")), lab.ethernet(0x0806, arp(1, MAC[2], "10.0.0.3", "10.0.0.3")),
        lab.ethernet(0x0806, arp(2, MAC[2], "10.0.0.3", "10.0.0.3")), lab.ethernet(0x0806, arp(3, MAC[2], "10.0.0.3", "10.0.0.3")),
        lab.ethernet(0x0806, arp(1, MAC[1], "10.0.0.4", "10.0.0.5"), tags=[(0x88a8, 5), (0x8100, 6)]),
        lab.MACS + struct.pack(">H", 8 + len(snap)) + bytes.fromhex("aaaa030000000806") + snap,
        neighbour(135, 0, "fe80::1", "fe80::2", link(1, MAC[1])), neighbour(136, 0x60, "fe80::2", "fe80::2", link(2, MAC[2])),
        neighbour(136, 0x20, "fe80::2", "fe80::2", link(2, MAC[3])), neighbour(135, 0, "::", "fe80::3"),
        neighbour(135, 0, "fe80::1", "fe80::4", struct.pack(">BB6s", 14, 1, b"nonce!") + link(1, MAC[3])),
    ]


def broken():
    """What cannot be read is one `broken` packet each."""
    frames = [lab.ethernet(0x0806, arp(1, MAC[1], "10.0.0.1", "10.0.0.2")[:20]),
              lab.ethernet(0x0806, arp(1, MAC[1], "10.0.0.1", "10.0.0.2", hardware=6)),
              neighbour(135, 0, "fe80::1", "fe80::2", bytes(8)), neighbour(136, 0, "fe80::1", "fe80::2", b"\2\2" + bytes(6))]
    rows, _ = seen(lab.write_pcap("broken.pcap", [(lab.NS, frame) for frame in frames]))
    for count in ("packets", "broken"):
        lab.equal(len(frames), sum(row[count] for row in rows.values()), "what cannot be read: " + count)


def main():
    packets = {4: 0, 6: 0}
    paths = [os.path.join(lab.PCAPS, name) for name in lab.captures()]
    path = lab.write_pcap("made.pcap", [(lab.NS + i, frame) for i, frame in enumerate(made())])
    for one in paths + [path]:
        want = expected(one)
        lab.equal((want, 0), seen(one), os.path.basename(one))
        for key, row in want.items():
            packets[key[2]] += row["packets"]
    broken()
    lab.equal(len(made()), sum(row["packets"] for row in expected(path).values()), "made packets that tshark knows")
    rows, lost = seen(path, "--set", "entries=1")
    lab.equal(len(made()), lost + sum(row["packets"] for row in rows.values()), "rows + other")
    if not lost:
        lab.fail("everything had room in one row")
    lab.done("%d ARP packets and %d of neighbour discovery as tshark reads them" % (packets[4], packets[6]))


main()
