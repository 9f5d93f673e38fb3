# SPDX-License-Identifier: Apache-2.0
"""What the tests of replay/ and bpf/ share: running perilune over a capture, reading its events, writing captures.

A test ends with lab.done("what was compared"), or at the first difference with lab.fail("why").
"""
import atexit
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
PERILUNE = os.environ["PERILUNE"]
SOURCE = os.environ["PERILUNE_SOURCE"]
PCAPS = os.path.join(SOURCE, "tests", "pcaps")
NS = 1000000000

sys.path.insert(0, os.path.join(SOURCE, "tests", "e2e"))
import schema  # noqa: E402

checker = schema.Checker(schema.SCHEMA)
OUT = tempfile.mkdtemp(prefix="perilune-test.", dir=os.environ.get("TMPDIR", "/tmp"))
atexit.register(shutil.rmtree, OUT, True)


def fail(text):
    print("%s: FAILED: %s" % (os.path.basename(sys.argv[0]), text), file=sys.stderr)
    sys.exit(1)


def done(text):
    print("%s: %s" % (os.path.basename(sys.argv[0]), text))


def equal(expected, actual, what):
    if expected != actual:
        if isinstance(expected, dict) and isinstance(actual, dict) and len(expected) > 8:
            keys = [k for k in list(expected) + list(actual) if expected.get(k) != actual.get(k)][:4]
            expected, actual = ({k: d.get(k) for k in keys} for d in (expected, actual))
        fail("%s: expected %r, got %r" % (what, expected, actual))


def captures():
    """The names of all captures of tests/pcaps."""
    names = sorted(name for name in os.listdir(PCAPS) if name.endswith(".pcap"))
    if len(names) < 60:
        fail("only %d captures in %s" % (len(names), PCAPS))
    return names


# ------------------------------------------------------------------------------------------------ perilune


def perilune(*args, status=0, env=None):
    """Runs it and gives (stdout, stderr) as bytes; its exit status has to be `status`."""
    run = subprocess.run([PERILUNE, *args], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                         env=dict(os.environ, **(env or {})))
    if run.returncode != status:
        fail("perilune %s: exit status %d instead of %d\n%s" % (" ".join(args), run.returncode, status,
                                                              run.stderr.decode("utf-8", "replace")[-2000:]))
    return run.stdout, run.stderr


def read_events(lines, what):
    """Events of JSON lines (bytes), each held against the schema; of many rows only some are."""
    events = []
    for line in lines.split(b"\n")[:-1]:
        event = json.loads(line)
        short = event
        if len(event.get("rows", ())) > 8:
            short = dict(event, rows=event["rows"][:4] + event["rows"][-4:])
        for problem in checker.problems(json.dumps(short)):
            fail("%s: %s" % (what, problem))
        events.append(event)
    if not lines.endswith(b"\n"):
        fail("%s: the last line does not end" % what)
    return events


def replay(path, *args, status=0):
    """Events of a replay --json. args: what comes before the file, as --template flows."""
    out, _ = perilune("replay", *args, path, "--json", status=status)
    return read_events(out, os.path.basename(path))


def of(events, name, **where):
    return [e for e in events if e["event"] == name and all(e[k] == v for k, v in where.items())]


def ns_of(text):
    """2013-03-07T21:42:06.869344000Z → ns since the epoch."""
    import calendar
    import time
    seconds, fraction = text[:-1].split(".")
    return calendar.timegm(time.strptime(seconds, "%Y-%m-%dT%H:%M:%S")) * NS + int(fraction)


KEY = ("src", "dst", "sport", "dport", "proto", "ip_version")

# IANA's keywords, by which records name a protocol.
PROTOCOLS = {
    "hopopt": 0, "icmp": 1, "igmp": 2, "ipv4": 4, "tcp": 6, "egp": 8, "udp": 17, "dccp": 33, "ipv6": 41, "ipv6-route": 43,
    "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51, "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
    "eigrp": 88, "ospfigp": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132, "udplite": 136, "mpls-in-ip": 137,
    "hip": 139, "shim6": 140,
}


def key_of(row):
    """The key's fields in order, the protocol as its number."""
    return tuple(PROTOCOLS.get(row[k], row[k]) if k == "proto" else row[k] for k in KEY if k in row)


def sum_rows(events, probe=None):
    """{ key as tuple of the key's fields: { field: sum over all windows } }; first and last are ns, least and most."""
    sums = {}
    for event in of(events, "records"):
        if probe and event["probe"] != probe:
            continue
        for row in event["rows"]:
            key = key_of(row)
            into = sums.setdefault(key, {})
            for field, value in row.items():
                if field in KEY:
                    continue
                if field in ("tunnel", "tunnel_id"):
                    into[field] = value
                    continue
                if field in ("first", "last"):
                    value = ns_of(value)
                    choose = min if field == "first" else max
                    into[field] = choose(into.get(field, value), value)
                else:
                    into[field] = into.get(field, 0) + value
    return sums


def conserved(events, what, packets=None):
    """Rows + loss = packets in every window, and windows = summary. → (packets, lost)"""
    windows, summary = of(events, "window"), of(events, "summary")
    equal(1, len(summary), "%s: summaries" % what)
    summary = summary[0]
    records = {(e["seq"], e["probe"]): e for e in of(events, "records")}
    for window in windows:
        where = "%s, window %d" % (what, window["seq"])
        for (seq, probe), event in records.items():
            if seq != window["seq"] or "ip_version" not in (event["rows"] or [{}])[0] and event["rows"]:
                continue
            lost = event["loss"]["map_full"] + event["loss"]["not_parsed"] + event["loss"]["limited"]
            equal(0, event["omitted"], where + ": omitted rows")
            equal(window["packets"], sum(r["packets"] for r in event["rows"]) + lost, where + ": rows + loss of " + probe)
        equal(window["loss"]["not_parsed"], sum(window["not_parsed_by"].values()), where + ": not parsed, by reason")
        for name in ("packets", "skbs", "bytes"):
            equal(window[name], sum(d[name] for d in window["directions"].values()), where + ": directions, " + name)
    for name in ("packets", "skbs", "bytes"):
        equal(summary[name], sum(w[name] for w in windows), "%s: sum of the windows' %s" % (what, name))
    for name in ("map_full", "not_parsed"):
        equal(summary["loss"][name], sum(w["loss"][name] for w in windows), "%s: sum of loss.%s" % (what, name))
    equal(summary["windows"], len(windows), "%s: windows" % what)
    if packets is not None:
        equal(packets, summary["packets"], "%s: packets of the capture" % what)
    return summary["packets"], summary["loss"]["map_full"] + summary["loss"]["not_parsed"]


# ------------------------------------------------------------------------------------------------ captures


def read_pcap(path):
    """The frames of a pcap file that are whole: [(ns, bytes, bytes on the wire)]"""
    with open(path, "rb") as file:
        data = file.read()
    magic = data[:4]
    order, unit = {b"\xd4\xc3\xb2\xa1": ("<", 1000), b"\xa1\xb2\xc3\xd4": (">", 1000),
                   b"\x4d\x3c\xb2\xa1": ("<", 1), b"\xa1\xb2\x3c\x4d": (">", 1)}[magic]
    frames, at = [], 24
    while at + 16 <= len(data):
        seconds, fraction, captured, wire = struct.unpack_from(order + "IIII", data, at)
        at += 16 + captured
        if at <= len(data):
            frames.append((seconds * NS + fraction * unit, data[at - captured:at], wire))
    return frames


def pcap_bytes(frames, link=1, nanoseconds=True):
    """frames: (ns, bytes[, bytes on the wire]). link: DLT, 1 Ethernet."""
    out = [struct.pack("<IHHiIII", 0xa1b23c4d if nanoseconds else 0xa1b2c3d4, 2, 4, 0, 0, 262144, link)]
    for frame in frames:
        time, data = frame[0], frame[1]
        wire = frame[2] if len(frame) > 2 else len(data)
        fraction = time % NS if nanoseconds else time % NS // 1000
        out.append(struct.pack("<IIII", time // NS, fraction, len(data), wire))
        out.append(data)
    return b"".join(out)


def write_pcap(name, frames, **how):
    return write(name, pcap_bytes(frames, **how))


def write(name, data):
    path = os.path.join(OUT, name)
    with open(path, "wb") as file:
        file.write(data)
    return path


def policy(name, probes):
    """A policy file of these probes, whose window is a day."""
    text = 'return policy "features" { attach = { iface = "lo", hook = "xdp" }, window = "24h", always = {\n%s\n} }\n'
    return write(name, (text % ",\n".join(probes)).encode())


# ------------------------------------------------------------------------------------------------ frames


def address(text):
    import ipaddress
    return ipaddress.ip_address(text).packed


MACS = bytes.fromhex("020000000099" "020000000001")  # to nobody, so that no stack answers


def ethernet(kind, payload, tags=()):
    """tags: [(ethertype, id)] from the outermost on."""
    out = MACS
    for ethertype, tci in tags:
        out += struct.pack(">HH", ethertype, tci)
    return out + struct.pack(">H", kind) + payload


def ipv4(src, dst, proto, payload, total=None, ihl=None, version=4, flags_offset=0, options=b""):
    """total and ihl (in words): what the header claims, when that is not the truth."""
    length = 20 + len(options)
    ihl = length // 4 if ihl is None else ihl
    total = length + len(payload) if total is None else total
    return struct.pack(">BBHHHBBH4s4s", version << 4 | ihl, 0, total, 1, flags_offset, 64, proto, 0, address(src),
                       address(dst)) + options + payload


def ipv6(src, dst, proto, payload, length=None, version=6):
    length = len(payload) if length is None else length
    return struct.pack(">IHBB16s16s", version << 28, length, proto, 64, address(src), address(dst)) + payload


def tcp(sport, dport, flags, payload=b"", options=b""):
    return struct.pack(">HHIIBBHHH", sport, dport, 1, 0, (5 + len(options) // 4) << 4, flags, 65535, 0, 0) + options + payload


def udp(sport, dport, payload=b""):
    return struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload
