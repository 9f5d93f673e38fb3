# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 900
"""Requests and responses of clear HTTP/1 are what tshark reads, packet by packet, on every capture; made packets show what tshark has
no word for: lines that are cut, broken ones, other protocols that begin alike."""
import os
import re
import subprocess
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

FIELDS = ["frame.number", "frame.protocols", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "tcp.srcport", "tcp.dstport",
          "http.request.method", "http.request.uri", "http.host", "http.response.code", "http.request.version", "tcp.payload"]
KEY = ("method", "host", "path", "status", "client", "server")
COUNTS = ("packets", "requests", "responses", "errors", "broken")
# Messages that tshark has and the template has not, by capture: key, and what it counts as.
LESS = {
    "http_methods.pcap": [
        # `OPTIONS` and the end of the line: no request of HTTP/1 (RFC 9112, 3), which tshark takes it for because of port 80. NNTP
        # has such lines (`POST`, `HEAD`), and the template knows no ports.
        (("OPTIONS", "www.google.com", "", 0, "128.2.6.136", "173.194.75.103"), "broken"),
    ],
}


def tshark(path, *options):
    command = ["tshark", "-n", "-r", path, "-o", "ip.defragment:FALSE", "-o", "ipv6.defragment:FALSE",
               "-o", "tcp.desegment_tcp_streams:FALSE", "-o", "http.desegment_headers:FALSE", "-o", "http.desegment_body:FALSE",
               "-o", "http.dechunk_body:FALSE", "-o", "tcp.analyze_sequence_numbers:FALSE", "-T", "fields", "-E", "occurrence=a",
               "-E", "separator=/t", "-E", "aggregator=|", *options]
    for field in FIELDS:
        command += ["-e", field]
    run = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if run.returncode:
        lab.fail("%s: tshark: %s" % (os.path.basename(path), run.stderr.decode()))
    for line in run.stdout.decode("utf-8", "replace").split("\n")[:-1]:
        yield {name: value.split("|") if name != "http.request.uri" else [value] for name, value in zip(FIELDS, line.split("\t"))}


def message(f):
    """(key, counts) of tshark's first message of a packet. A request line that is here as a whole and has no version is broken."""
    inner = [layer for layer in f["frame.protocols"][0].split(":") if layer in ("ip", "ipv6")][-1]
    src, dst = f[inner + ".src"][-1], f[inner + ".dst"][-1]
    method, code = f["http.request.method"][0], int(f["http.response.code"][0] or 0)
    client, server = (src, dst) if method else (dst, src)
    broken = method and not re.fullmatch(r"HTTP/1\.\d", f["http.request.version"][0]) and b"\n" in bytes.fromhex(f["tcp.payload"][0])
    counts = (1, 0, 0, 0, 1) if broken else (1, method != "", method == "", code >= 400, 0)
    path = f["http.request.uri"][0].split("?")[0] if method else ""
    return (method, f["http.host"][0].lower()[:64], path[:64], code, client, server), counts


def expected(path):
    rows = {}
    for f in tshark(path, "-Y", "tcp and (http.request or http.response)"):
        key, counts = message(f)
        row = rows.setdefault(key, Counter())
        for name, value in zip(COUNTS, counts):
            row[name] += value
    return rows


def seen(path, *options, key=KEY):
    rows, lost = {}, 0
    for event in lab.of(lab.replay(path, "--template", "http", "--set", "key=" + ",".join(key), *options), "records"):
        lost += event["loss"]["map_full"]
        for r in event["rows"]:
            row = rows.setdefault(tuple(r[k] for k in key), Counter())
            for name in COUNTS:
                row[name] += r[name]
            lab.equal(r["packets"], r["requests"] + r["responses"] + r["broken"], "a row's packets")
    return rows, lost


def compare(path):
    name = os.path.basename(path)
    want, (got, lost) = expected(path), seen(path, "--features", "tunnel")
    lab.equal(0, lost, name)
    for key, kind in LESS.get(name, ()):
        want[key].subtract(("packets", kind))
    for key in sorted(set(want) | set(got)):
        lab.equal(+want.get(key, Counter()), +got.get(key, Counter()), "%s: %r" % (name, key))
    return sum(row["packets"] for row in want.values())


A, B, SIX, SEVEN = "10.0.0.1", "10.0.0.2", "fd00::6", "fd00::7"


def frame(text, src=A, dst=B, sport=40000, dport=8081, tags=()):
    segment = lab.tcp(sport, dport, 24, text.encode("latin-1"))
    if ":" in src:
        return lab.ethernet(0x86dd, lab.ipv6(src, dst, 6, segment), tags)
    return lab.ethernet(0x0800, lab.ipv4(src, dst, 6, segment), tags)


def asked(method, host, path, text, **how):
    """(frame, key, what it counts as)"""
    return frame(text, **how), (method, host, path, 0, how.get("src", A), how.get("dst", B)), "requests"


def told(status, text):
    return frame(text, sport=8081, dport=40000), ("", "", "", status, B, A), "responses"


def broken(text, method="", path="", host=""):
    return frame(text), (method, host, path, 0) + ((A, B) if method else (B, A)), "broken"


HEAD = " HTTP/1.1\r\n"
MADE = [
    asked("GET", "example.com:8080", "/a", "GET /a?b=c?d" + HEAD + "Host:Example.COM:8080\r\n\r\n"),
    asked("GET", "fd.example", "/six", "GET /six" + HEAD + "HOST: \t fd.example \r\n\r\n", src=SIX, dst=SEVEN),
    asked("GET", "a", "/tag", "GET /tag" + HEAD + "X-Host: no\r\nHost: a\r\n\r\n", tags=[(0x88a8, 5), (0x8100, 6)]),
    asked("POST", "", "/body", "POST /body HTTP/1.0\r\nContent-Length: 11\r\n\r\nx\r\nHost: no\r\n"),
    asked("GET", "", "/body", "GET /body HTTP/1.0\nContent-Length: 11\n\nx\nHost: no\n"),
    asked("OPTIONS", "", "*", "OPTIONS *" + HEAD + "\r\n"),
    asked("CONNECT", "b:443", "b:443", "CONNECT b:443" + HEAD + "Host: b:443\r\n\r\n"),
    asked("GET", "", "http://c/d", "GET http://c/d" + HEAD),
    asked("GET", "", "/a", "GET /a b" + HEAD),
    asked("UPDATEREDIRECTREF", "", "/x", "UPDATEREDIRECTREF /x" + HEAD),
    asked("X" * 20, "", "/x", "X" * 20 + " /x" + HEAD),
    asked("GET", "", "/cut/of", "GET /cut/of"),
    asked("GET", "", "/cut", "GET /cut HTT"),
    asked("GET", "", "/cut", "GET /cut HTTP/1.1\r"),
    asked("GET", "", "/" + "l" * 63, "GET /" + "l" * 1200 + HEAD + "Host: far\r\n\r\n"),
    asked("FROB", "", "/" + "l" * 63, "FROB /" + "l" * 1200 + HEAD + "Host: far\r\n\r\n"),
    asked("FROB", "", "/" + "l" * 63, "FROB /" + "l" * 63),
    asked("GET", "", "/far", "GET /far" + HEAD + "X: %s\r\nHost: far\r\n\r\n" % ("x" * 600)),
    asked("GET", "cut.exam", "/", "GET /" + HEAD + "Host: cut.exam"),
    asked("GET", "h" * 64, "/", "GET /" + HEAD + "Host: %s\r\n\r\n" % ("H" * 70)),
    told(200, "HTTP/1.1 200 OK\r\n\r\n"), told(404, "HTTP/1.0 404 Not Found\r\n\r\n"), told(599, "HTTP/1.1 599"),
    told(100, "HTTP/1.1 100 \r\n"), told(999, "HTTP/1.1 999 ?\r\n"),
    broken("HTTP/1.1 20"), broken("HTTP/1.1 2000 OK\r\n"), broken("HTTP/1.1 OK 200\r\n"),
    broken("GET /\r\n\r\n", "GET", "/"), broken("GET / HTTP/2.0\r\nHost: a\r\n", "GET", "/", "a"),
    broken("GET /HTTP/1.1\r\n", "GET", "/HTTP/1.1"), broken("PUT  HTTP/1.1\r\n", "PUT"),
    broken("FROB HTTP/1.1\r\n", "FROB", "HTTP/1.1"), broken("FROB / HTTP/1.\n\n", "FROB", "/"),
]
OTHERS = [frame(text) for text in (
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "OPTIONS sip:a@b SIP/2.0\r\n", "OPTIONS * RTSP/1.0\r\n",
    "get / http/1.1\r\n\r\n", "GET key\r\n", "EHLO mail.example\r\n", "FROB /" + "l" * 57, "POST\r\n", "USER anonymous\r\n", "Some text of a body that goes on",
    "X" * 21 + " /x" + HEAD, " GET / HTTP/1.1\r\n", "GET", "HTTP/2.0 200 OK\r\n", "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03")]
OTHERS.append(lab.ethernet(0x0800, lab.ipv4(A, B, 17, lab.udp(1900, 1900, b"M-SEARCH * HTTP/1.1\r\nHost: 239.255.255.250:1900\r\n\r\n"))))


def made():
    """Each message by the widest key, then by keys of fewer fields."""
    path = lab.write_pcap("made.pcap", [(lab.NS + i, one) for i, one in enumerate([m[0] for m in MADE] + OTHERS)])
    want = {}
    for _, key, kind in MADE:
        row = want.setdefault(key, Counter())
        for name in ("packets", kind) + (("errors",) if key[3] >= 400 else ()):
            row[name] += 1
    for features in ("tunnel", "tunnel,classes,timing"):
        got, lost = seen(path, "--features", features)
        lab.equal(0, lost, "lost")
        for key in sorted(set(want) | set(got)):
            lab.equal(want.get(key), +got.get(key, Counter()), "made: %r" % (key,))
    for keys in (("host",), ("status",), ("method", "client"), ("path",)):
        sums = {}
        for key, row in want.items():
            sums.setdefault(tuple(value for name, value in zip(KEY, key) if name in keys), Counter()).update(row)
        got, _ = seen(path, key=keys)
        lab.equal({key: dict(row) for key, row in sums.items()}, {key: dict(+row) for key, row in got.items()}, "by " + " and ".join(keys))
    rows, lost = seen(path, "--set", "entries=1")
    lab.equal(len(MADE), lost + sum(row["packets"] for row in rows.values()), "rows + other")
    if not lost:
        lab.fail("everything had room in one row")


def knobs():
    text = "GET /path/to?query" + HEAD + "X: %s\r\nHost: some.example\r\n\r\n" % ("x" * 700)
    path = lab.write_pcap("knobs.pcap", [(lab.NS, frame(text)), (lab.NS + 1, frame("HTTP/1.1 304 Not Modified\r\n"))])
    for options, want in (((), ("", "/path/to")), (("query=1",), ("", "/path/to?query")), (("path_bytes=8",), ("", "/path/to"[:8])),
                          (("look=1024",), ("some.example", "/path/to")), (("look=1024", "host_bytes=8"), ("some.exa", "/path/to"))):
        sets = [word for option in options for word in ("--set", option)]
        rows, _ = seen(path, *sets, key=("host", "path"))
        lab.equal({want, ("", "")}, set(rows), "with " + " ".join(options))
    events = lab.of(lab.replay(path, "--template", "http", "--features", "classes,timing", "--set", "key=status"), "records")
    rows = {row["status"]: row for event in events for row in event["rows"]}
    lab.equal(([0, 0, 1, 0, 0], [0] * 5), (rows[304]["statuses"], rows[0]["statuses"]), "classes")
    lab.equal([lab.NS + 1] * 2, [lab.ns_of(rows[304][name]) for name in ("first", "last")], "timing")


def pairs():
    """Responses with what their connection's last request asked for; against the order of tshark's messages."""
    second = "HTTP/1.1 %d x\r\n\r\n"
    ask = "GET %s" + HEAD + "Host: %s\r\n\r\n"
    here = [frame(ask % ("/a", "a"), sport=1, dport=80), frame(ask % ("/b", "b"), sport=2, dport=80),
            frame(second % 100, B, A, 80, 1), frame(second % 200, B, A, 80, 1), frame(second % 404, B, A, 80, 2),
            frame(second % 200, B, A, 80, 1), frame(second % 500, B, A, 80, 3), frame(ask % ("/six", "a"), SIX, SEVEN, 1, 80),
            frame(second % 200, SEVEN, SIX, 80, 1)]
    path = lab.write_pcap("pairs.pcap", [(lab.NS + i * 1000, one) for i, one in enumerate(here)])
    names = ("requests", "responses", "errors", "answered", "wait")
    rows = {}
    for event in lab.of(lab.replay(path, "--template", "http", "--features", "pair", "--set", "key=host,path,method"), "records"):
        rows.update({(r["method"], r["host"], r["path"]): tuple(r[name] for name in names) for r in event["rows"]})
    lab.equal({("GET", "a", "/a"): (1, 3, 0, 1, 3000), ("GET", "b", "/b"): (1, 1, 1, 1, 3000), ("", "", ""): (0, 1, 1, 0, 0),
               ("GET", "a", "/six"): (1, 1, 0, 1, 1000)}, rows, "pairs")
    counted = 0
    for name in ("http_bro.org.pcap", "wikipedia.pcap", "http_pipelined-requests.pcap", "http_get.pcap"):
        path, last, want = os.path.join(lab.PCAPS, name), {}, Counter()
        for f in tshark(path, "-Y", "tcp and (http.request or http.response)"):
            key, counts = message(f)
            ports = (f["tcp.srcport"][0], f["tcp.dstport"][0])
            if counts[1]:
                last[key[4:] + ports] = key[:3]
            want[(last.get(key[4:] + ports[::-1], ("", "", "")) if counts[2] else key[:3]) + key[3:]] += 1
        got = Counter()
        events = lab.replay(path, "--template", "http", "--features", "pair,tunnel", "--set", "key=" + ",".join(KEY))
        for event in lab.of(events, "records"):
            for row in event["rows"]:
                got[tuple(row[k] for k in KEY)] += row["packets"]
                counted += row["answered"]
        lab.equal(want, got, name + ": pairs")
    if counted < 40:
        lab.fail("only %d requests were answered" % counted)


def widest():
    """As much as the knobs allow is verified on every hook."""
    for hook in ("xdp", "tc"):
        text = 'return policy "p" { attach = { iface = "lo", hook = "%s" }, always = { http { key = { "method", "host", "path", ' \
            '"client", "server", "status" }, features = { "classes", "pair", "timing", "tunnel" }, look = 1024, host_bytes = 128, ' \
            'path_bytes = 128 } } }\n' % hook
        out, _ = lab.perilune("check", "--no-cost", lab.write("widest.lua", text.encode()))
        if not out.rstrip().endswith(b"verified"):
            lab.fail("at %s: %s" % (hook, out.decode()))


def main():
    packets = 0
    for name in lab.captures():
        packets += compare(os.path.join(lab.PCAPS, name))
    made()
    knobs()
    pairs()
    widest()
    lab.done("%d messages as tshark reads them, %d made ones" % (packets, len(MADE)))


main()
