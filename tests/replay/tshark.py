# SPDX-License-Identifier: Apache-2.0
"""An independent reading of a capture: tshark's, packet by packet, nothing put together again."""
import ipaddress
import os
import subprocess

import lab

PORTS = {6: "tcp", 17: "udp", 132: "sctp", 33: "dccp", 136: "udp"}
# Of each IPv6 extension header the field that names the next one.
NEXT = {0: "ipv6.hopopts.nxt", 43: "ipv6.routing.nxt", 44: "ipv6.fraghdr.nxt", 51: "ah.next_header", 60: "ipv6.dstopts.nxt"}
FIELDS = ["frame.number", "frame.time_epoch", "frame.len", "frame.protocols", "ip.src", "ip.dst", "ip.len", "ip.proto",
          "ip.frag_offset", "ip.version", "ipv6.src", "ipv6.dst", "ipv6.plen", "ipv6.nxt", "ipv6.fraghdr.offset", "tcp.flags"]
FIELDS += sorted(set(NEXT.values()))
FIELDS += [name + side for name in ("tcp", "udp", "sctp", "dccp") for side in (".srcport", ".dstport")]
FLAGS = (("fin", 1), ("syn", 2), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32), ("ece", 64), ("cwr", 128))


def lines(path):
    """One dict of lists a frame."""
    command = ["tshark", "-n", "-r", path, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
               "-o", "tcp.desegment_tcp_streams:FALSE", "-T", "fields", "-E", "occurrence=a", "-E", "separator=/t",
               "-E", "aggregator=|"]
    for field in FIELDS:
        command += ["-e", field]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if run.returncode:
        lab.fail("%s: tshark: %s" % (os.path.basename(path), run.stderr.decode()))
    for line in run.stdout.decode().split("\n")[:-1]:
        yield {name: value.split("|") if value else [] for name, value in zip(FIELDS, line.split("\t"))}


def first(fields, name):
    return fields[name][0] if fields[name] else None


def transport(fields):
    """Behind IPv6's extension headers: (protocol number, whether ports can follow)."""
    proto, later = int(fields["ipv6.nxt"][0]), False
    rest = {number: list(fields[name]) for number, name in NEXT.items()}
    while proto in rest and rest[proto]:
        if proto == 44:
            later = int(fields["ipv6.fraghdr.offset"][0], 0) != 0
        proto = int(rest[proto].pop(0), 0)
        if later:
            break
    return proto, not later


def packet(fields):
    """What perilune should say of a frame: a dict, or None when no IP header is right behind Ethernet and VLAN tags."""
    layers = first(fields, "frame.protocols").split(":")
    link = 14 + 4 * layers.count("vlan")
    while layers[:1] and layers[0] in ("eth", "ethertype", "vlan"):
        layers = layers[1:]
    if not layers or layers[0] not in ("ip", "ipv6") or not (fields["ip.src"] or fields["ipv6.src"]):
        return None
    if layers[0] == "ip":
        version, proto = 4, int(first(fields, "ip.proto"))
        with_ports = int(first(fields, "ip.frag_offset")) == 0
        length = int(first(fields, "ip.len") or 0)
    else:
        version, length = 6, 40 + int(first(fields, "ipv6.plen"))
        proto, with_ports = transport(fields)
    sport = dport = flags = 0
    name = PORTS.get(proto)
    if name and with_ports:
        sport, dport = int(first(fields, name + ".srcport") or 0), int(first(fields, name + ".dstport") or 0)
    if proto == 6 and with_ports:
        flags = int(first(fields, "tcp.flags") or "0", 16)
    ip = "ip" if version == 4 else "ipv6"
    seconds, fraction = first(fields, "frame.time_epoch").split(".")
    return {
        "src": str(ipaddress.ip_address(first(fields, ip + ".src"))), "dst": str(ipaddress.ip_address(first(fields, ip + ".dst"))),
        "sport": sport, "dport": dport, "proto": proto, "ip_version": version, "flags": flags,
        # A header may claim more octets than the frame had on the wire; what was not sent does not count.
        "claimed": length, "bytes": min(length, int(first(fields, "frame.len")) - link),
        "time": int(seconds) * lab.NS + int(fraction.ljust(9, "0")),
    }


def read(path):
    """(packets, frames in all, octets of all frames)"""
    packets, frames, octets = [], 0, 0
    for fields in lines(path):
        frames += 1
        octets += int(first(fields, "frame.len"))
        one = packet(fields)
        if one:
            packets.append(one)
    return packets, frames, octets


def rows(packets, key=lab.KEY):
    """The same sums that lab.sum_rows makes of perilune's records."""
    sums = {}
    for one in packets:
        row = sums.setdefault(tuple(one[k] for k in lab.KEY if k in key), dict.fromkeys(
            ("packets", "skbs", "bytes", "syn_ack") + tuple(name for name, _ in FLAGS), 0))
        row["packets"] += 1
        row["skbs"] += 1
        row["bytes"] += one["bytes"]
        for name, bit in FLAGS:
            row[name] += one["flags"] & bit != 0
        row["syn_ack"] += one["flags"] & 18 == 18
        row["first"] = min(row.get("first", one["time"]), one["time"])
        row["last"] = max(row.get("last", one["time"]), one["time"])
    return sums
