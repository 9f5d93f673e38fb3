# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""DNS messages, field by field, are what tshark reads, on every capture and on made ones; response times are its own."""
import os
import struct
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

KEY = ("client", "server", "id", "flags", "qtype", "response", "rcode", "name", "ip_version")
COUNTS = ("packets", "queries", "responses", "errors", "truncated", "answers", "name_length", "broken", "over_tcp")
CLASSES = 25
PORTS = (53, 5353)


def time_class(us):
    return min(CLASSES - 1, int(us).bit_length())


def lower(text):
    """As the template keeps it: ASCII letters in lower case."""
    return "".join(c.lower() if "A" <= c <= "Z" else c for c in text)


def of_frame(fields):
    """(key, counts, class of the response time or None) of a message as tshark reads it; None when it is none."""
    p = tshark.packet(fields)
    if not p or p["depth"] != 1 or not {p["sport"], p["dport"]} & set(PORTS) or "dns" not in tshark.first(
            fields, "frame.protocols").split(":") and "mdns" not in tshark.first(fields, "frame.protocols").split(":"):
        return None
    flags = tshark.first(fields, "dns.flags")
    if flags is None:
        return (p["src"], p["dst"], 0, "0x0000", 0, 0, 0, "", p["ip_version"]), {"packets": 1, "broken": 1}, None
    shown, flags = flags, int(flags, 0)
    response = flags >> 15
    name = tshark.first(fields, "dns.qry.name") or tshark.first(fields, "dns.resp.name")
    if not fields["dns.qry.name"] and tshark.first(fields, "dns.resp.type") == "33":  # a service's name comes in parts
        name = ".".join(tshark.first(fields, "dns.srv." + part) for part in ("service", "proto", "name"))
    kind = tshark.first(fields, "dns.qry.type") or tshark.first(fields, "dns.resp.type") or "0"
    # A name that goes round in circles, or no name where a question should be: tshark says so in the name's place.
    broken = bool(name and name.startswith("<Name")) or bool(not name and int(tshark.first(fields, "dns.count.queries") or 0))
    if broken:
        name, kind = "", "0"
    name = "." if name == "<Root>" else lower(name or "")
    client, server = (p["dst"], p["src"]) if response else (p["src"], p["dst"])
    counts = {"packets": 1, "queries": 1 - response, "responses": response, "errors": int(bool(response and flags & 15)),
              "truncated": flags >> 9 & 1, "answers": int(tshark.first(fields, "dns.count.answers") or 0) if response else 0,
              "name_length": len(name), "broken": int(broken), "over_tcp": int(p["proto"] == 6)}
    took = tshark.first(fields, "dns.time")
    if took is None and response and (int(tshark.first(fields, "ip.flags") or "0", 0) & 1 or fields["ipv6.fraghdr.offset"]):
        took = "cut"  # tshark measures no response whose end is in another fragment
    if 5353 in (p["sport"], p["dport"]):
        took = None  # the template does not measure multicast
    took = took if took in (None, "cut") else time_class(float(took) * 1e6 + 0.5)
    return ((client, server, int(tshark.first(fields, "dns.id"), 0), shown, int(kind, 0), response, flags & 15 if response else 0,
             name, p["ip_version"]), counts, took)


def expected(path):
    rows = {}
    for fields in tshark.lines(path):
        message = of_frame(fields)
        if not message:
            continue
        key, counts, took = message
        row = rows.setdefault(key, dict(dict.fromkeys(COUNTS, 0), latencies=[0] * CLASSES))
        for field, value in counts.items():
            row[field] = max(row[field], value) if field == "name_length" else row[field] + value
        if took == "cut":
            row["latencies"] = None
        elif took is not None and row["latencies"]:
            row["latencies"][took] += 1
    return rows


def seen(path, *options, features="latency,tcp"):
    rows, loss = {}, Counter()
    for event in lab.of(lab.replay(path, "--template", "dns", "--features", features, "--set", "window=24h", "--set", "key=message", "--set",
                                   "name_bytes=256", *options), "records"):
        loss.update(event["loss"])
        for r in event["rows"]:
            row = rows.setdefault(tuple(r[k] for k in KEY), dict(dict.fromkeys(COUNTS, 0), latencies=[0] * CLASSES))
            for field in COUNTS:
                row[field] = max(row[field], r[field]) if field == "name_length" else row[field] + r[field]
            row["latencies"] = [a + b for a, b in zip(row["latencies"], r["latencies"])]
    return rows, loss


def message(name, ident=7, flags=0x0100, questions=1, answers=0, rest=b"\0\1\0\1"):
    return struct.pack(">HHHHHH", ident, flags, questions, answers, 0, 0) + name + rest


def labels(text):
    return b"".join(bytes([len(part)]) + part.encode() for part in text.split(".")) + b"\0"


def over_udp(payload, back=False):
    ends, ports = (("10.0.0.2", "10.0.0.1"), (53, 4000)) if back else (("10.0.0.1", "10.0.0.2"), (4000, 53))
    return lab.ethernet(0x0800, lab.ipv4(*ends, 17, lab.udp(*ports, payload)))


def made():
    """(frame, name or None when it is broken)"""
    long_one = ".".join(["a" * 63] * 3 + ["b" * 61])
    whole = message(labels("Www.Example.COM"))
    return [
        (over_udp(whole), "www.example.com"),
        (over_udp(message(labels(long_one))), long_one),
        (over_udp(message(labels(".".join("x" * 127)))), ".".join("x" * 127)),
        (over_udp(message(b"\0")), "."),
        # A pointer at itself, one forward, one at an octet behind the message, two that point at each other.
        (over_udp(message(b"\xc0\x0c")), None),
        (over_udp(message(b"\xc0\x10\0\0" + labels("a.b"))), None),
        (over_udp(message(b"\1a\xc1\xff")), None),
        (over_udp(message(b"\1a\xc0\x0c")), None),
        (over_udp(message(b"\x40ab\0")), None),
        (over_udp(message(labels("cut.short"), rest=b"")[:-4]), None),
        (over_udp(b"\0\7\1\0\0\1"), None),
        (over_udp(message(b"", questions=0, rest=b"")), ""),
        # Into the header: an id that is a label.
        (over_udp(message(b"\xc0\0", ident=0x0161, flags=0)), "a"),
        (lab.ethernet(0x0800, lab.ipv4("10.0.0.1", "10.0.0.2", 6, lab.tcp(4000, 53, 24, struct.pack(">H", len(whole)) + whole))), "www.example.com"),
        (lab.ethernet(0x86dd, lab.ipv6("fd00::1", "fd00::2", 17, lab.udp(4000, 53, whole))), "www.example.com"),
    ]


def zones():
    path = lab.write_pcap("zones.pcap", [(lab.NS, over_udp(message(labels(name)))) for name in ("com", "a.com", "x.a.com", "y.x.a.com")])
    for count, want in ((1, {"com": 4}), (2, {"com": 1, "a.com": 3}), (3, {"com": 1, "a.com": 1, "x.a.com": 2})):
        got = Counter()
        for event in lab.of(lab.replay(path, "--template", "dns", "--set", "key=zone", "--set", "zone_labels=%d" % count), "records"):
            for row in event["rows"]:
                got[row["zone"]] += row["packets"]
        lab.equal(want, dict(got), "zones of %d labels" % count)


def main():
    messages, times = 0, 0
    for name in lab.captures():
        path = os.path.join(lab.PCAPS, name)
        want, (rows, loss) = expected(path), seen(path)
        for key, row in want.items():
            row["latencies"] = row["latencies"] or rows[key]["latencies"]
        lab.equal(want, rows, name)
        lab.equal(0, loss["map_full"], name + ": lost")
        messages += sum(row["packets"] for row in want.values())
        times += sum(sum(row["latencies"]) for row in want.values())
    for frame, name in made():
        rows, _ = seen(lab.write_pcap("made.pcap", [(lab.NS, frame)]))
        (key, row), = rows.items()
        lab.equal((name or "", int(name is None)), (key[7], row["broken"]), "made: %r" % frame)
    path = lab.write_pcap("made.pcap", [(lab.NS + i, frame) for i, (frame, _) in enumerate(made())])
    rows, loss = seen(path, "--set", "entries=1")
    lab.equal(len(made()), loss["map_full"] + sum(row["packets"] for row in rows.values()), "rows + other")
    zones()
    lab.done("%d messages as tshark reads them, %d response times, %d made ones" % (messages, times, len(made())))


main()
