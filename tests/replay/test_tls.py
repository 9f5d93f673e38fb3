# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""What ClientHellos say is what tshark reads, on every capture and on made ones: in pieces, behind other records, with GREASE, with
lengths that cannot be, of SSL 2; JA4's first part is made of what tshark reads, as its description says."""
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

T = "tls.handshake."
FIELDS = [T + "type", T + "version", T + "ciphersuite", T + "cipherspec", T + "extension.type", T + "extensions_server_name",
          T + "extensions_alpn_str", T + "extensions.supported_version", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "frame.protocols"]
NAMES = {0x0002: "ssl2", 0x0300: "ssl3", 0x0301: "tls1_0", 0x0302: "tls1_1", 0x0303: "tls1_2", 0x0304: "tls1_3"}
JA4_NAMES = {"ssl2": "s2", "ssl3": "s3", "tls1_0": "10", "tls1_1": "11", "tls1_2": "12", "tls1_3": "13"}
SAID = ("client", "server", "sni", "alpn", "version", "legacy_version", "ciphers", "extensions", "ja4", "cipher_list")


def tshark(path):
    command = ["tshark", "-n", "-r", path, "-o", "tcp.desegment_tcp_streams:FALSE", "-o", "ip.defragment:FALSE", "-T", "fields",
               "-E", "separator=/t", "-E", "aggregator=,"]
    for field in FIELDS:
        command += ["-e", field]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    for line in run.stdout.decode().split("\n")[:-1]:
        yield dict(zip(FIELDS, line.split("\t")))


def grease(value):
    return value & 0x0f0f == 0x0a0a and value >> 8 == value & 0xff


def numbers(text):
    return [int(value, 0) for value in text.split(",") if value]


def ja4(sni, alpn, version, ciphers, extensions):
    """alpn: bytes of the first protocol."""
    ends = "00"
    if alpn:
        ends = alpn.hex()[0] + alpn.hex()[-1]
        if alpn[:1].isalnum() and alpn[-1:].isalnum():
            ends = chr(alpn[0]) + chr(alpn[-1])
    return "t%s%s%02d%02d%s" % (JA4_NAMES.get(version, "00"), "d" if sni else "i", min(ciphers, 99), min(extensions, 99), ends)


def said(f):
    """A ClientHello as tshark reads it: as SAID."""
    legacy = numbers(f[T + "version"])[0]
    offered = [v for v in numbers(f[T + "extensions.supported_version"]) if not grease(v)]
    suites, specs = numbers(f[T + "ciphersuite"]), numbers(f[T + "cipherspec"])
    extensions = [x for x in numbers(f[T + "extension.type"]) if not grease(x)]
    alpn = f[T + "extensions_alpn_str"].split(",")[0]
    version, legacy = (NAMES.get(v, v) for v in (max(offered or [legacy]), legacy))
    ciphers = len([s for s in suites if not grease(s)]) + len(specs)
    return (f["ip.src"] or f["ipv6.src"], f["ip.dst"] or f["ipv6.dst"], f[T + "extensions_server_name"].lower(), alpn, version, legacy,
            ciphers, len(extensions), ja4(0 in extensions, alpn.encode(), version, ciphers, len(extensions)),
            tuple("0x%04x" % s for s in suites[:32]))


def expected(path):
    for f in tshark(path):
        layers = f["frame.protocols"].split(":")
        if "tcp" in layers and "1" in f[T + "type"].split(",") and sum(x in ("ip", "ipv6") for x in layers) == 1:
            yield said(f)


def rows_of(path, *options, features="hello,ja4,ciphers"):
    """All rows of all windows, and what was lost."""
    rows, lost = [], 0
    for event in lab.of(lab.replay(path, "--template", "tls", "--features", features, *options), "records"):
        lost += event["loss"]["map_full"]
        rows += event["rows"]
    return rows, lost


def seen(path):
    """ClientHellos as SAID: a row for each connection and ciphers, as no two in a capture have the same."""
    rows, lost = rows_of(path, "--set", "key=client,server,sport,dport")
    lab.equal(0, lost, path + ": lost")
    out = []
    for row in rows:
        if row["packets"]:
            row["cipher_list"] = tuple(x for x in row["cipher_list"] if x)
            out += [tuple(row[name] for name in SAID)] * row["packets"]
    return out, rows


# ------------------------------------------------------------------------------------------------ made hellos


def vector(size, data):
    return len(data).to_bytes(size, "big") + data


def extension(kind, data=b""):
    return struct.pack(">H", kind) + vector(2, data)


def name(text, kind=0):
    return extension(0, vector(2, struct.pack(">B", kind) + vector(2, text.encode())))


def protocols(*names):
    return extension(16, vector(2, b"".join(vector(1, n) for n in names)))


def versions(*values):
    return extension(43, vector(1, struct.pack(">%dH" % len(values), *values)))


def body(suites=(0x1301, 0x1302), extensions=b"", version=0x0303, session=b""):
    out = struct.pack(">H", version) + bytes(range(32)) + vector(1, session)
    out += vector(2, struct.pack(">%dH" % len(suites), *suites)) + b"\1\0"
    return out if extensions is None else out + vector(2, extensions)


def record(message, version=0x0301, kind=22):
    return struct.pack(">BH", kind, version) + vector(2, message)


def hello(*args, **more):
    return record(b"\1" + vector(3, body(*args, **more)))


def ssl2(version=0x0002, specs=7):
    data = struct.pack(">BHHHH", 1, version, 3 * specs, 0, 16) + bytes.fromhex("010080") * specs + bytes(16)
    return struct.pack(">H", 0x8000 | len(data)) + data


def frame(payload, port, six=False, back=False):
    ports = (443, port) if back else (port, 443)
    segment = lab.tcp(*ports, 0x18, payload)
    if six:
        ends = ("2001:db8::1", "2001:db8::2")
        return lab.ethernet(0x86dd, lab.ipv6(*(reversed(ends) if back else ends), 6, segment))
    ends = ("10.0.0.1", "10.0.0.2")
    return lab.ethernet(0x0800, lab.ipv4(*(reversed(ends) if back else ends), 6, segment))


def write(name_, payloads):
    return lab.write_pcap(name_, [(lab.NS + i, frame(payload, 2000 + i, i % 2)) for i, payload in enumerate(payloads)])


GREASE = extension(0x1a1a) + extension(0xfafa, b"\0")
WHOLE = [
    hello(), hello(extensions=None), hello(extensions=None, version=0x0300), hello(version=0x0301), hello(version=0x0302),
    hello((0x0a0a, 0x1301, 0xfafa, 0x0a1a, 0xc02f), GREASE + name("WWW.Example-\u005a[A].ORG") + protocols(b"h2", b"http/1.1")),
    hello(extensions=versions(0x2a2a, 0x0303, 0x0304, 0x0302)), hello(extensions=versions(0x0301)),
    hello(extensions=versions(0x7f1c, 0x0303)), hello(extensions=versions(0x3a3a)),
    hello(tuple(range(0xc001, 0xc001 + 120)), b"".join(extension(k) for k in range(30000, 30060))),
    hello(tuple(range(0xc001, 0xc001 + 256))), hello((0x1301,) * 300), hello(session=bytes(32), extensions=name("a" * 100)),
    hello(extensions=name("@AZ[`az{-" * 9)), hello(extensions=protocols(b"x")),
    hello(extensions=protocols(b"apns-security-v3") + name("b.example")),
    ssl2(), ssl2(0x0301, 40),
]
# What tshark shows otherwise, or not at all.
OWN = [
    (record(b"\1", 0x0303, 20) + hello(extensions=name("again.example")), {"sni": "again.example", "cut": 0}),
    (hello(extensions=protocols(b"\xab\xcd")), {"ja4": "t12i0201ad"}),
    (hello(extensions=protocols(b"h\xcd")), {"ja4": "t12i02016d"}),
    (hello(extensions=name("x.example", kind=1)), {"sni": "", "ja4": "t12d020100", "broken": 0}),
    (hello(extensions=extension(0)), {"sni": "", "ja4": "t12d020100", "broken": 0}),
    (hello(extensions=name("n" * 200)), {"sni": "n" * 128, "broken": 0}),
    (hello(extensions=protocols(b"p" * 40)), {"alpn": "p" * 32, "ja4": "t12i0201pp"}),
    (hello(extensions=b"".join(extension(k) for k in range(1000, 1080))), {"extensions": 64}),
]


def pieces():
    """A hello that goes on behind the packet is read as far as it is here; behind its end nothing counts."""
    whole = hello(extensions=name("cut.example") + protocols(b"h2") + extension(21, bytes(300)))
    seen_sizes = range(11, len(whole) + 1)
    rows, lost = rows_of(write("pieces.pcap", [whole[:n] for n in seen_sizes] + [whole[:10], whole + whole]), "--set",
                         "key=sport,dport", "--set", "entries=1000")
    lab.equal(0, lost, "pieces: lost")
    lab.equal(len(seen_sizes) + 1, len(rows), "pieces: rows")
    start = whole.index(b"cut.example")
    for row in rows:
        size = min(11 + row["sport"] - 2000, len(whole))
        want = {"packets": 1, "cut": int(size < len(whole)), "broken": 0, "legacy_version": "tls1_2",
                "sni": "cut.example" if size >= start + 11 else "", "ciphers": max(0, min(2, (size - 46) // 2)),
                "extensions": sum(size >= at for at in (start - 5, start + 15, start + 24)),
                "alpn": "h2" if size >= start + 20 else ""}
        got = {field: row[field] for field in want}
        lab.equal(want, got, "a hello cut behind %d of %d bytes" % (size, len(whole)))


def broken():
    """Lengths that cannot be are `broken`, one each; what is no hello at all counts nowhere."""
    good = hello(extensions=name("good.example"))
    at = 5 + 4 + 2 + 32

    def patched(offset, new, of=good):
        return of[:offset] + new + of[offset + len(new):]
    bad = [patched(at, b"\x21"), patched(at + 1, b"\0\5"), patched(at + 1, b"\xff\xff"), patched(at + 7, b"\xff"),
           patched(at + 9, b"\xff\xff"), patched(at + 13, b"\xff\xff"),
           hello(extensions=extension(0, b"\0\1\0")), hello(extensions=extension(0, b"\0\6\0\0\x09abc")),
           hello(extensions=extension(16, b"\0")), hello(extensions=extension(16, b"\0\5\5abc")),
           hello(extensions=extension(43, b"\3\3\4\3")), hello(extensions=extension(43, b"\x0a\3\4")),
           hello(extensions=b"\0\1\0"), record(b"\1" + vector(3, body()[:40])), record(b"\1" + vector(3, body()[:34]))]
    rows, _ = rows_of(write("broken.pcap", bad), "--set", "key=sport,dport")
    lab.equal([], [bad[r["sport"] - 2000].hex() for r in rows if r["broken"] != 1 or r["cut"]], "hellos that are not broken")
    lab.equal(len(bad), len(rows), "broken hellos")
    none = [patched(0, b"\x17"), patched(1, b"\2"), patched(2, b"\5"), patched(5, b"\x0e"), patched(6, b"\1"), patched(9, b"\2"),
            b"GET / HTTP/1.1\r\n\r\n", patched(1, b"\x2f", ssl2()), good[:8]]
    rows, _ = rows_of(write("none.pcap", none))
    lab.equal([], rows, "what is no hello")


def answers():
    """A ServerHello counts where its ClientHello does."""
    def reply(version, suite, more=b""):
        said_ = struct.pack(">H", version) + bytes(32) + vector(1, b"id") + struct.pack(">HB", suite, 0) + vector(2, more)
        return record(b"\2" + vector(3, said_), 0x0303)
    frames = [frame(hello(extensions=name("one.example")), 2000), frame(reply(0x0303, 0x1302, extension(43, b"\3\4")), 2000, back=True),
              frame(hello(extensions=name("two.example")), 2001, True), frame(reply(0x0302, 0xc02f), 2001, True, True),
              frame(hello(extensions=name("none.example")), 2002), frame(reply(0x0303, 0x1301), 2003, back=True)]
    rows, _ = rows_of(lab.write_pcap("answers.pcap", [(lab.NS + i, f) for i, f in enumerate(frames)]), features="server")
    lab.equal({"one.example": (1, 1, "tls1_3", "0x1302"), "two.example": (1, 1, "tls1_1", "0xc02f"),
               "none.example": (1, 0, "no_version", "")},
              {r["sni"]: (r["packets"], r["answers"], r["chosen_version"], r["chosen_cipher"]) for r in rows}, "answers")


def elsewhere():
    """In a tunnel a hello counts if asked; of a frame that a capture has cut, what is there is read."""
    one = hello(extensions=name("in.example"))
    inside = lab.ipv4("10.0.0.1", "10.0.0.2", 6, lab.tcp(2000, 443, 0x18, one))
    path = lab.write_pcap("tunnel.pcap", [(lab.NS, lab.ethernet(0x0800, lab.ipv4("192.0.2.1", "192.0.2.2", 4, inside)))])
    lab.equal([], rows_of(path)[0], "a hello in a tunnel, not asked for")
    rows, _ = rows_of(path, "--set", "key=hello", features="tunnel")
    lab.equal([("in.example", "10.0.0.1", "10.0.0.2", 1)], [(r["sni"], r["client"], r["server"], r["packets"]) for r in rows],
              "a hello in a tunnel")
    whole = frame(one, 2000)
    rows, _ = rows_of(lab.write_pcap("cut.pcap", [(lab.NS, whole[:-4], len(whole))]))
    lab.equal([("", 1, 1, 0, 2)], [(r["sni"], r["packets"], r["cut"], r["broken"], r["ciphers"]) for r in rows], "a frame that is cut")


def main():
    hellos = 0
    paths = [os.path.join(lab.PCAPS, one) for one in lab.captures()] + [write("whole.pcap", WHOLE)]
    for path in paths:
        want = sorted(expected(path), key=repr)
        got, rows = seen(path)
        lab.equal(want, sorted(got, key=repr), os.path.basename(path))
        lab.equal([], [row for row in rows if row["cut"] or row["broken"]], os.path.basename(path) + ": cut or broken")
        hellos += len(want)
    lab.equal(len(WHOLE), len(want), "made hellos that tshark knows")
    rows, _ = rows_of(write("own.pcap", [payload for payload, _ in OWN]), "--set", "key=sport,dport")
    lab.equal(len(OWN), len(rows), "made hellos of which tshark says less")
    for row in rows:
        want = OWN[row["sport"] - 2000][1]
        lab.equal(want, {field: row[field] for field in want}, "made hello %d" % (row["sport"] - 2000))
    pieces()
    broken()
    answers()
    elsewhere()
    rows, lost = rows_of(paths[-1], "--set", "entries=1")
    lab.equal(len(WHOLE), lost + sum(row["packets"] for row in rows), "rows + other")
    if not lost:
        lab.fail("everything had room in one row")
    lab.done("%d ClientHellos as tshark reads them" % hellos)


main()
