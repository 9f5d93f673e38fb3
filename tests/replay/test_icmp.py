# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""ICMP and ICMPv6 messages, the flows that errors quote, MTUs and echo's response times are what tshark reads, on every capture and on
made ones."""
import ipaddress
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

KEY = ("src", "dst", "icmp_type", "code", "about_src", "about_dst", "about_sport", "about_dport", "about_proto", "ip_version")
COUNTS = ("packets", "bytes", "requests", "replies", "unreachable", "too_big", "time_exceeded", "redirects", "broken")
CLASSES = 25
ERRORS = {4: (3, 4, 5, 11, 12), 6: range(0, 128)}
# Captured up to the middle of ICMP's header: tshark reads the type, the parser only whole headers.
CUT = {"trunc_icmp-header-trunc.pcap": 2}


def time_class(us):
    return min(CLASSES - 1, int(us).bit_length())


def about(fields, p):
    """(src, dst, sport, dport, proto) of the packet that an error quotes."""
    one = "ip" if p["ip_version"] == 4 else "ipv6"
    src, dst = tshark.at(fields, one + ".src", 1), tshark.at(fields, one + ".dst", 1)
    if not src:
        return "::", "::", 0, 0, 0
    proto = int(tshark.at(fields, "ip.proto" if one == "ip" else "ipv6.nxt", 1))
    ports = [0, 0]
    if proto in tshark.PORTS:
        ports = [int(tshark.first(fields, tshark.PORTS[proto] + side) or 0) for side in (".srcport", ".dstport")]
    return str(ipaddress.ip_address(src)), str(ipaddress.ip_address(dst)), ports[0], ports[1], proto


def expected(path):
    rows, cut = {}, 0
    for fields in tshark.lines(path):
        p = tshark.packet(fields)
        layer = p and {(4, 1): "icmp", (6, 58): "icmpv6"}.get((p["ip_version"], p["proto"]))
        if not layer or p["depth"] != 1 or int(tshark.first(fields, "ip.frag_offset") or 0):
            continue
        if layer not in tshark.first(fields, "frame.protocols").split(":"):
            continue  # a later fragment of IPv6
        kind, code = tshark.first(fields, layer + ".type"), tshark.first(fields, layer + ".code")
        broken = kind is None or os.path.basename(path) in CUT
        cut += broken
        kind, code = (0, 0) if broken else (int(kind), int(code or 0))
        four = p["ip_version"] == 4
        quoted = about(fields, p) if not broken and kind in ERRORS[p["ip_version"]] else ("::", "::", 0, 0, 0)
        row = rows.setdefault((p["src"], p["dst"], kind, code) + quoted + (p["ip_version"],),
                              dict(dict.fromkeys(COUNTS, 0), latencies=[0] * CLASSES, mtu=0))
        too_big = not broken and ((kind, code) == (3, 4) if four else kind == 2)
        for name, yes in (("packets", 1), ("bytes", p["bytes"]), ("broken", broken), ("requests", not broken and kind == (8 if four else 128)),
                          ("replies", not broken and kind == (0 if four else 129)), ("too_big", too_big),
                          ("unreachable", not broken and kind == (3 if four else 1) and not too_big),
                          ("time_exceeded", not broken and kind == (11 if four else 3)),
                          ("redirects", not broken and kind == (5 if four else 137))):
            row[name] += yes
        mtu = int(tshark.first(fields, layer + ".mtu") or 0) if too_big else 0
        if mtu:
            row["mtu"] = min(row["mtu"] or mtu, mtu)
        took = tshark.first(fields, layer + ".resptime")
        if took is not None:
            row["latencies"][time_class(float(took) * 1000 + 0.5)] += 1
    return rows, cut


def seen(path, *options):
    rows, lost = {}, 0
    events = lab.replay(path, "--template", "icmp", "--features", "latency,mtu", "--set", "window=24h", "--set", "key=" + ",".join(KEY[:-1]),
                        *options)
    for event in lab.of(events, "records"):
        lost += event["loss"]["map_full"]
        for r in event["rows"]:
            r["about_proto"] = lab.PROTOCOLS.get(r["about_proto"], r["about_proto"])
            row = rows.setdefault(tuple(r[k] for k in KEY), dict(dict.fromkeys(COUNTS, 0), latencies=[0] * CLASSES, mtu=0))
            for name in COUNTS:
                row[name] += r[name]
            row["latencies"] = [a + b for a, b in zip(row["latencies"], r["latencies"])]
            row["mtu"] = min(m for m in (row["mtu"], r["mtu"]) if m) if row["mtu"] or r["mtu"] else 0
            lab.equal(bool(sum(r["latencies"])), bool(r["latency_max"]), "latency_max")
    return rows, lost


def icmp(kind, code, rest, body=b""):
    return struct.pack(">BBH4s", kind, code, 0, rest) + body


def made():
    four = lab.ipv4("10.0.0.1", "10.9.9.9", 17, lab.udp(1000, 53))
    later = lab.ipv4("10.0.0.1", "10.9.9.9", 17, bytes(8), flags_offset=100)
    six = lab.ipv6("fd00::1", "fd99::9", 6, lab.tcp(2000, 443, 2))

    def one(data):
        return [lab.ethernet(0x0800, lab.ipv4("10.0.0.254", "10.0.0.1", 1, icmp(kind, code, rest, data)))
                for kind, code, rest in ((3, 3, bytes(4)), (3, 4, b"\0\0\5\x14"), (11, 0, bytes(4)), (5, 1, b"\12\0\0\1"), (12, 0, bytes(4)))]

    frames = one(four) + one(later) + one(four[:20]) + one(four[:10])
    frames += [lab.ethernet(0x86dd, lab.ipv6("fd00::fe", "fd00::1", 58, icmp(kind, code, rest, six)))
               for kind, code, rest in ((1, 4, bytes(4)), (2, 0, b"\0\0\5\0"), (3, 0, bytes(4)), (4, 1, bytes(4)))]
    for kind, back in ((8, 0), (8, 0), (0, 1), (0, 1), (0, 1)):
        ends = ("10.0.0.2", "10.0.0.1") if back else ("10.0.0.1", "10.0.0.2")
        frames.append(lab.ethernet(0x0800, lab.ipv4(*ends, 1, icmp(kind, 0, struct.pack(">HH", 7, 1)))))
    return frames


def main():
    messages, latencies = 0, 0
    path = lab.write_pcap("made.pcap", [(lab.NS + i * 3000, frame) for i, frame in enumerate(made()[:-5])])
    for one in [os.path.join(lab.PCAPS, name) for name in lab.captures()] + [path]:
        name = os.path.basename(one)
        want, cut = expected(one)
        lab.equal(CUT.get(name, 0), cut, name + ": cut short")
        rows, lost = seen(one)
        lab.equal(set(want), set(rows), name + ": messages")
        for key, row in want.items():
            lab.equal(row, {field: rows[key][field] for field in row}, "%s: %r" % (name, key))
        lab.equal(0, lost, name + ": lost")
        messages += sum(row["packets"] for row in want.values())
        latencies += sum(sum(row["latencies"]) for row in want.values())
    rows, lost = seen(path, "--set", "entries=1")
    lab.equal(len(made()) - 5, lost + sum(row["packets"] for row in rows.values()), "rows + other")
    # Two requests with the same numbers, three replies: the later request is answered once, by the first reply.
    rows, _ = seen(lab.write_pcap("echo.pcap", [(lab.NS + i * 1000000, frame) for i, frame in enumerate(made()[-5:])]))
    times = [row["latencies"] for key, row in rows.items() if key[2] == 0]
    lab.equal([[1 if i == 10 else 0 for i in range(CLASSES)]], times, "one reply is measured, at 1 ms")
    if not latencies:
        lab.fail("no capture has an echo and its reply")
    lab.done("%d messages as tshark reads them, %d response times among them" % (messages, latencies))


main()
