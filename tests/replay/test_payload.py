# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 900
"""What TCP and UDP carry, its first bytes and which patterns stand in it, is what tshark shows and Python finds there, on every
capture; made packets have patterns at the edges of what is looked at."""
import ipaddress
import os
import subprocess
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

FIELDS = ["frame.protocols", "frame.len", "frame.cap_len", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport",
          "tcp.len", "tcp.payload", "udp.srcport", "udp.dstport", "udp.length", "udp.payload"]
FIRST = 24
# (bytes, where it begins, among how many bytes it stands)
PATTERNS = [
    (b"GET ", 0, None), (b"\x16\x03", 0, None), (b"HTTP/1.1 200 OK", 0, None), (b"\x01\x00\x00\x01", 2, None), (b"e", 1, None),
    (b"Content-Type: te", None, 1024), (b"Host: ", None, 256), (b"\0", None, 64), (b"\0\0\0\0\0\0\0\0\0", None, 512),
    (b"\xc0\x0c", None, 100), (b"com", None, 40), (b"\r\n\r\n", None, 1024), (b"gzip", 300, None), (b"a", 1023, None),
    (b"\x84", 2, None), (b"www", None, 1024),
]
KEY = ("src", "dst", "sport", "dport", "proto")


def quoted(patterns):
    out = []
    for data, at, within in patterns:
        out.append('{ hex = "%s", %s }' % (data.hex(), "within = %d" % within if within else "at = %d" % at))
    return "{ %s }" % ", ".join(out)


def found(data, patterns):
    """Of each pattern whether it stands in these bytes."""
    return [pattern in data[:within] if within else data[at:at + len(pattern)] == pattern for pattern, at, within in patterns]


def tshark(path):
    command = ["tshark", "-n", "-r", path, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
               "-o", "tcp.desegment_tcp_streams:FALSE", "-o", "tcp.analyze_sequence_numbers:FALSE", "-T", "fields",
               "-E", "occurrence=f", "-E", "separator=/t"]
    for field in FIELDS:
        command += ["-e", field]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if run.returncode:
        lab.fail("%s: tshark: %s" % (os.path.basename(path), run.stderr.decode()))
    for line in run.stdout.decode("utf-8", "replace").split("\n")[:-1]:
        yield dict(zip(FIELDS, line.split("\t")))


def carried(path):
    """(key, octets, those that the capture has) of each packet whose outermost IP header carries TCP or UDP."""
    for f in tshark(path):
        layers = [layer for layer in f["frame.protocols"].split(":") if not layer.startswith("ipv6.")]
        ips = [i for i, layer in enumerate(layers) if layer in ("ip", "ipv6")]
        kind = layers[ips[0] + 1] if ips and len(layers) > ips[0] + 1 else None
        if kind not in ("tcp", "udp") or not f[kind + ".srcport"]:
            continue
        data = bytes.fromhex(f[kind + ".payload"])
        if kind == "udp" and int(f["udp.length"]) >= 8:
            data = data[:int(f["udp.length"]) - 8]  # of a fragment tshark shows all that IP carries (ipv4_fragmented-1.pcap)
        size = len(data) if f["frame.len"] == f["frame.cap_len"] else int(f["tcp.len"] or int(f["udp.length"] or 8) - 8)
        if size:
            ip = layers[ips[0]]
            ends = [str(ipaddress.ip_address(f[ip + "." + side])) for side in ("src", "dst")]
            yield (ends[0], ends[1], int(f[kind + ".srcport"]), int(f[kind + ".dstport"]), kind), size, data


def expected(packets, patterns):
    rows = {}
    for key, size, data in packets:
        row = rows.setdefault(key, {"packets": 0, "bytes": 0, "matched": 0, "patterns": [0] * len(patterns), "pattern": 0,
                                    "first_bytes": data[:FIRST].ljust(FIRST, b"\0"), "first_size": min(len(data), FIRST)})
        has = found(data, patterns)
        row["packets"] += 1
        row["bytes"] += size
        row["matched"] += any(has)
        row["patterns"] = [count + one for count, one in zip(row["patterns"], has)]
        row["pattern"] = has.index(True) + 1 if any(has) else row["pattern"]
    return rows


def replay(path, body):
    text = 'return policy "p" { attach = { iface = "lo", hook = "xdp" }, window = "1h", always = { payload { %s } } }\n' % body
    return lab.of(lab.replay(path, lab.write("policy.lua", text.encode())), "records")


def seen(path, patterns, protocols=("tcp", "udp"), more=""):
    body = 'features = { "first", "match" %s }, first = %d, patterns = %s' % (more, FIRST, quoted(patterns))
    rows = {}
    for event in replay(path, body):
        lab.equal(0, event["loss"]["map_full"], "lost")
        for r in event["rows"]:
            if r["proto"] not in protocols:
                continue
            row = dict({name: r[name] for name in ("packets", "bytes", "matched", "patterns", "pattern", "first_size")},
                       first_bytes=bytes.fromhex(r["first_bytes"].replace(":", "")))
            key = tuple(r[k] for k in KEY)
            old = rows.get(key)
            if old:
                for name in ("packets", "bytes", "matched"):
                    row[name] += old[name]
                row["patterns"] = [a + b for a, b in zip(old["patterns"], row["patterns"])]
                row.update(first_bytes=old["first_bytes"], first_size=old["first_size"], pattern=row["pattern"] or old["pattern"])
            rows[key] = row
    return rows


def compare(path):
    """How many packets carry something, and how many of them have a pattern."""
    name = os.path.basename(path)
    want, got = expected(carried(path), PATTERNS), seen(path, PATTERNS)
    for key in sorted(set(want) | set(got)):
        lab.equal(want.get(key), got.get(key), "%s: %r" % (name, key))
    by, whole = Counter(), Counter()
    for event in replay(path, 'key = "pattern", patterns = %s' % quoted(PATTERNS)):
        for row in event["rows"]:
            by[row["pattern"]] += row["packets"]
    for event in replay(path, 'key = { "ifindex" }, features = { "match" }, patterns = %s' % quoted(PATTERNS)):
        for row in event["rows"]:
            whole.update(packets=row["packets"], matched=row["matched"])
    lab.equal((whole["packets"], whole["matched"]), (sum(by.values()), sum(by.values()) - by[0]), name + ": by pattern")
    return sum(row["packets"] for row in want.values()), sum(row["matched"] for row in want.values())


A, B, SIX, SEVEN = "10.0.0.1", "10.0.0.2", "fd00::6", "fd00::7"
EDGES = [
    (b"evil", None, 256), (b"last", 1020, None), (b"\0\0", 0, None), (b"\0\0", None, 64), (b"0123456789abcdef", None, 32),
    (b"z", 0, None), (b"zz", None, 1024), (b"\xff\xfe", 7, None), (b"evil", 3, None),
]
PAYLOADS = [
    b"x" * 252 + b"evil", b"x" * 253 + b"evil", b"x" * 250 + b"evilevil", b"x" * 1020 + b"last", b"x" * 1020 + b"las",
    b"x" * 1021 + b"last", b"\0", b"\0\0", b"x\0", b"x\0\0", b"xy", b"x" * 62 + b"\0\0", b"x" * 63 + b"\0\0",
    b"0123456789abcdef", b"x" * 16 + b"0123456789abcdef", b"x" * 17 + b"0123456789abcdef", b"0123456789abcde", b"y" * 1400, b"evi",
    b"z", b"zz", b"x" * 1022 + b"zz", b"x" * 1023 + b"zz", b"1234567\xff\xfe", b"1234567\xff", b"12345678\xff\xfe", b"\xff\xfe",
    b"123evil", b"123EVIL", bytes(range(256)) * 5,
]


def frames(payloads):
    """[(frame, key, what it carries)]: by each protocol in turn, some with tags."""
    out = []
    for i, data in enumerate(payloads):
        tcp, tags = i % 2 == 0, [(0x8100, 7)] if i % 3 == 0 else []
        segment = lab.tcp(1000 + i, 80, 24, data) if tcp else lab.udp(1000 + i, 80, data)
        for ip, ends, kind in ((lab.ipv4, (A, B), 0x0800), (lab.ipv6, (SIX, SEVEN), 0x86dd)):
            frame = lab.ethernet(kind, ip(*ends, 6 if tcp else 17, segment), tags)
            out.append((frame, ends + (1000 + i, 80, "tcp" if tcp else "udp"), data))
    return out


def made():
    packets = frames(PAYLOADS)
    nothing = [lab.ethernet(0x0800, lab.ipv4(A, B, 6, lab.tcp(1, 2, 2))), lab.ethernet(0x86dd, lab.ipv6(SIX, SEVEN, 17, lab.udp(1, 2)))]
    path = lab.write_pcap("made.pcap", [(lab.NS + i, frame) for i, frame in enumerate([p[0] for p in packets] + nothing)])
    want = expected([(key, len(data), data) for _, key, data in packets], EDGES)
    for more in ("", ', "timing"', ', "timing", "tunnel"'):
        got = seen(path, EDGES, more=more)
        for key in sorted(set(want) | set(got)):
            lab.equal(want.get(key), got.get(key), "made: %r" % (key,))
    for pattern in EDGES:  # alone, less is read
        lab.equal(sum(found(data, [pattern])[0] for _, _, data in packets),
                  sum(row["matched"] for row in seen(path, [pattern]).values()), "%r alone" % (pattern,))
    # Rows and what did not fit.
    lost, kept = Counter(), Counter()
    for event in replay(path, 'entries = 1, features = { "match" }, patterns = %s' % quoted(EDGES)):
        lost["packets"] += event["loss"]["map_full"]
        for row in event["rows"]:
            kept["packets"] += row["packets"]
    lab.equal(len(packets), lost["packets"] + kept["packets"], "rows + other")
    if not lost["packets"]:
        lab.fail("everything had room in one row")
    return len(packets)


def other_protocols():
    """What is behind IP's header where the transport has none that is known; SCTP's chunks; the inside of a tunnel."""
    inside = lab.ipv4(A, B, 17, lab.udp(5, 6, b"evil inside"))
    packets = [lab.ethernet(0x0800, lab.ipv4(A, B, 253, b"evil experiment")), lab.ethernet(0x86dd, lab.ipv6(SIX, SEVEN, 253, b"evil")),
               lab.ethernet(0x0800, lab.ipv4(A, B, 132, bytes(12) + b"evil chunk")), lab.ethernet(0x0800, lab.ipv4(A, B, 4, inside))]
    path = lab.write_pcap("other.pcap", [(lab.NS + i, frame) for i, frame in enumerate(packets)])
    for features, want in (('"match"', [("", 39), ("evil", 10), ("evil", 15), ("evil", 4)]),
                           ('"match", "tunnel"', [("evil", 10), ("evil", 11), ("evil", 15), ("evil", 4)])):
        got = [("evil" if row["matched"] else "", row["bytes"])
               for event in replay(path, 'key = { "src", "proto" }, features = { %s }, patterns = "evil"' % features)
               for row in event["rows"]]
        lab.equal(want, sorted(got, key=lambda one: (one[0], str(one[1]))), "other protocols, " + features)


def merged():
    """What offloads have merged beyond what an IP packet has, as BIG TCP lets them: no length in its header, of which the frame's says all."""
    frame = bytearray(lab.ethernet(0x86dd, lab.ipv6(SIX, SEVEN, 6, lab.tcp(1000, 80, 24, b"big" + bytes(997)))))
    frame[18:20] = b"\0\0"
    more = [0, 70000, 131072]
    path = lab.write_pcap("merged.pcap", [(lab.NS + i, bytes(frame), len(frame) + size) for i, size in enumerate(more)])
    # Of the first, which is no more than its header could have said, nothing is known to follow.
    got = [(row["packets"], row["bytes"]) for event in replay(path, 'key = "src"') for row in event["rows"]]
    lab.equal([(2, sum(1000 + size for size in more[1:]))], got, "merged")


def widest():
    """Sixteen patterns, far back, are verified on every hook."""
    for hook in ("xdp", "tc"):
        text = 'return policy "p" { attach = { iface = "lo", hook = "%s" }, always = { payload { features = { "first", "match", ' \
            '"timing", "tunnel" }, first = 64, patterns = %s } } }\n' % (hook, quoted(PATTERNS))
        out, _ = lab.perilune("check", "--no-cost", lab.write("widest.lua", text.encode()))
        if not out.rstrip().endswith(b"verified"):
            lab.fail("at %s: %s" % (hook, out.decode()))


def mistakes():
    for body, said in (("patterns = { 'evil', within = 4 }", b"patterns is a list"), ("patterns = { { hex = '1' } }", b"no bytes in hex"),
                       ("patterns = {}", b"0 patterns"), ("first = 65", b"at most 64")):
        text = 'return policy "p" { attach = { iface = "lo", hook = "xdp" }, always = { payload { %s } } }\n' % body
        _, err = lab.perilune("check", lab.write("mistake.lua", text.encode()), status=2)
        if said not in err or b"mistake.lua:1" not in err:
            lab.fail("%s: %s" % (body, err.decode()))


def main():
    packets, matched = 0, 0
    for name in lab.captures():
        one = compare(os.path.join(lab.PCAPS, name))
        packets, matched = packets + one[0], matched + one[1]
    count = made()
    other_protocols()
    merged()
    mistakes()
    widest()
    lab.done("%d packets with a payload as tshark reads them, %d of them with a pattern; %d made ones" % (packets, matched, count))


main()
