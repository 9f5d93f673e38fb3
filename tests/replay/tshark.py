# SPDX-License-Identifier: Apache-2.0
"""An independent reading of a capture: tshark's, packet by packet, nothing put together again."""
import hashlib
import ipaddress
import os
import shutil
import subprocess
import tempfile

import lab

PORTS = {6: "tcp", 17: "udp", 132: "sctp", 33: "dccp", 136: "udp"}
# Of each IPv6 extension header the field that names the next one.
NEXT = {0: "ipv6.hopopts.nxt", 43: "ipv6.routing.nxt", 44: "ipv6.fraghdr.nxt", 51: "ah.next_header", 60: "ipv6.dstopts.nxt",
        135: "mip6.proto", 139: "hip.proto", 140: "shim6.nxt"}
FIELDS = ["frame.number", "frame.time_epoch", "frame.len", "frame.protocols", "ip.src", "ip.dst", "ip.len", "ip.proto",
          "ip.frag_offset", "ip.version", "ipv6.src", "ipv6.dst", "ipv6.plen", "ipv6.nxt", "ipv6.fraghdr.offset", "tcp.flags",
          "ip.ttl", "ipv6.hlim", "ip.dsfield", "ipv6.tclass", "vlan.id", "mpls.label"]
FIELDS += sorted(set(NEXT.values()))
FIELDS += [name + side for name in ("tcp", "udp", "sctp", "dccp") for side in (".srcport", ".dstport")]
# What single templates are held against: asked of every capture with the rest, so that all tests ask the same.
FIELDS += ["dns.count.answers", "dns.count.queries", "dns.flags", "dns.id", "dns.qry.name", "dns.qry.type", "dns.resp.name",
           "dns.resp.type", "dns.srv.name", "dns.srv.proto", "dns.srv.service", "dns.time", "icmp.code", "icmp.mtu",
           "icmp.resptime", "icmp.type", "icmpv6.code", "icmpv6.echo.identifier", "icmpv6.echo.sequence_number", "icmpv6.mtu",
           "icmpv6.resptime", "icmpv6.type", "igmp.type", "ip.flags", "ip.id", "ipv6.fraghdr.ident", "ipv6.fraghdr.more",
           "quic.dcid", "quic.header_form", "quic.long.packet_type", "quic.long.packet_type_v2", "quic.scid", "quic.version",
           "tcp.ack_raw", "tcp.analysis.keep_alive", "tcp.analysis.retransmission", "tcp.analysis.zero_window", "tcp.len",
           "tcp.options.timestamp.tsecr", "tcp.options.timestamp.tsval", "tcp.seq_raw", "tcp.window_size_value", "udp.length"]
# Layers in front of IP, and their octets; Ethernet's own are 14.
LINKS = {"eth": 0, "ethertype": 0, "vlan": 4, "ieee8021ad": 4, "mpls": 4, "pppoes": 6, "ppp": 2, "llc": 8}
FLAGS = (("fin", 1), ("syn", 2), ("rst", 4), ("psh", 8), ("ack", 16), ("urg", 32), ("ece", 64), ("cwr", 128))


# What it said of a capture of tests/pcaps, which many tests ask in the same words: under what it depends on, for both builds.
KEPT = os.path.join(os.path.dirname(os.environ.get("PERILUNE_CACHE") or os.path.join(lab.OUT, "cache")), "tshark")


def said(command, path):
    """The output of tshark on a capture; `command` without the capture."""
    kept = None
    if os.path.dirname(path) == lab.PCAPS:
        program = os.stat(shutil.which(command[0]) or lab.fail("tshark is missing"))
        with open(path, "rb") as file:
            parts = [repr((program.st_size, program.st_mtime_ns, command)).encode(), file.read()]
        kept = os.path.join(KEPT, hashlib.sha256(b"\n".join(parts)).hexdigest())
        if os.path.exists(kept):
            with open(kept, "rb") as file:
                return file.read().decode()
    run = subprocess.run([*command, "-r", path], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if run.returncode:
        lab.fail("%s: tshark: %s" % (os.path.basename(path), run.stderr.decode()))
    if kept:
        os.makedirs(KEPT, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=KEPT, delete=False) as file:
            file.write(run.stdout)
        os.replace(file.name, kept)  # whole or not at all
    return run.stdout.decode()


def lines(path):
    """One dict of lists a frame."""
    command = ["tshark", "-n", "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
               "-o", "tcp.desegment_tcp_streams:FALSE", "-T", "fields", "-E", "occurrence=a", "-E", "separator=/t",
               "-E", "aggregator=|"]
    for field in FIELDS:
        command += ["-e", field]
    for line in said(command, path).split("\n")[:-1]:
        yield {name: value.split("|") if value else [] for name, value in zip(FIELDS, line.split("\t"))}


def first(fields, name):
    return fields[name][0] if fields[name] else None


def at(fields, name, index):
    """Its occurrence number `index`; None when there is none."""
    return fields[name][index] if index < len(fields[name]) else None


def transport(fields, index, rest):
    """Behind the extension headers of IPv6 header number `index`: (protocol number, whether ports can follow). `rest`: fields of
    NEXT that no header before has used."""
    proto, later = int(fields["ipv6.nxt"][index]), False
    while proto in rest and rest[proto]:
        if proto == 44:
            later = int(fields["ipv6.fraghdr.offset"][len(fields["ipv6.fraghdr.offset"]) - len(rest[44])], 0) != 0
        proto = int(rest[proto].pop(0), 0)
        if later:
            break
    return proto, not later


def headers(fields, layers):
    """Each IP header among the layers, outermost first, with what stands behind it: dicts. Those that ICMP quotes are none."""
    rest = {number: list(fields[name]) for number, name in NEXT.items()}
    seen, found = {}, []
    for layer in layers:
        index = seen[layer] = seen.get(layer, -1) + 1
        if layer in ("icmp", "icmpv6"):
            break
        if layer == "ip" and at(fields, "ip.src", index):
            found.append({"src": at(fields, "ip.src", index), "dst": at(fields, "ip.dst", index), "ip_version": 4,
                          "ttl": int(at(fields, "ip.ttl", index)), "tos": int(at(fields, "ip.dsfield", index), 0),
                          "proto": int(at(fields, "ip.proto", index)), "ports": int(at(fields, "ip.frag_offset", index)) == 0,
                          "claimed": int(at(fields, "ip.len", index) or 0)})
        elif layer == "ipv6" and at(fields, "ipv6.src", index):
            proto, ports = transport(fields, index, rest)
            found.append({"src": at(fields, "ipv6.src", index), "dst": at(fields, "ipv6.dst", index), "ip_version": 6,
                          "ttl": int(at(fields, "ipv6.hlim", index)), "tos": int(at(fields, "ipv6.tclass", index), 0),
                          "proto": proto, "ports": ports, "claimed": 40 + int(at(fields, "ipv6.plen", index))})
        elif found and layer == PORTS.get(found[-1]["proto"]) and found[-1]["ports"]:
            found[-1].update(sport=int(at(fields, layer + ".srcport", index) or 0), dport=int(at(fields, layer + ".dstport", index) or 0),
                             flags_text=at(fields, "tcp.flags", index) or "0x0000" if layer == "tcp" else "0x0000")
            found[-1]["flags"] = int(found[-1]["flags_text"], 16)
    return found


def packet(fields, inner=False):
    """What perilune should say of a frame: a dict, or None when no IP header is behind Ethernet, tags, labels, PPPoE or SNAP.
    `inner`: of the innermost header of a tunnel."""
    layers = first(fields, "frame.protocols").replace("udplite", "udp").split(":")  # whose fields it has
    link = 14
    while layers[:1] and layers[0] in LINKS:
        link += LINKS[layers[0]]
        layers = layers[1:]
    if not layers or layers[0] not in ("ip", "ipv6") or not (fields["ip.src"] or fields["ipv6.src"]):
        return None
    found = headers(fields, layers)
    one = dict({"sport": 0, "dport": 0, "flags": 0, "flags_text": "0x0000"}, **found[-1 if inner else 0])
    tags = [int(tag) for tag in fields["vlan.id"]] + [0, 0]
    labels = [int(label, 0) for label in fields["mpls.label"]] or [0]
    one.update(vlan=tags[0], inner_vlan=tags[1], label=labels[-1])
    seconds, fraction = first(fields, "frame.time_epoch").split(".")
    # A header may claim more octets than the frame had on the wire; what was not sent does not count.
    there = min(found[0]["claimed"], int(first(fields, "frame.len")) - link)
    one.update(src=str(ipaddress.ip_address(one["src"])), dst=str(ipaddress.ip_address(one["dst"])),
               bytes=min(one["claimed"], there), depth=len(found), time=int(seconds) * lab.NS + int(fraction.ljust(9, "0")))
    return one


def read(path, inner=False):
    """(packets, frames in all, octets of all frames)"""
    packets, frames, octets = [], 0, 0
    for fields in lines(path):
        frames += 1
        octets += int(first(fields, "frame.len"))
        one = packet(fields, inner)
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
