# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 1200
"""Every shipped example on traffic that it is for, and on traffic that must leave it alone (syn_flood has a test of its own).

The traffic is made here, packet by packet, so that what each must find is known.
"""
import collections
import os
import random
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

SYN, SYN_ACK, ACK, RST_ACK = 2, 18, 16, 20
BEGIN = 1700000000 * lab.NS  # 2023-11-14 22:13:20 UTC
MS = lab.NS // 1000


def example(name):
    return os.path.join(lab.SOURCE, "examples", name + ".lua")


def frame(src, dst, proto, payload):
    pack = lab.ipv6 if ":" in src else lab.ipv4
    return lab.ethernet(0x86dd if ":" in src else 0x0800, pack(src, dst, proto, payload))


def tcp(src, sport, dst, dport, flags, payload=b""):
    return frame(src, dst, 6, lab.tcp(sport, dport, flags, payload))


def udp(src, sport, dst, dport, payload=b""):
    return frame(src, dst, 17, lab.udp(sport, dport, payload))


def replay(name, frames, *args):
    frames = sorted(frames, key=lambda f: f[0])
    path = lab.write_pcap(name + ".pcap", frames)
    out, _ = lab.perilune("replay", example(name), path, "--json", *args)
    events = lab.read_events(out, name)
    lab.equal([], [e["message"] for e in lab.of(events, "error")], name + ": errors")
    lab.equal(len(frames), lab.of(events, "summary")[0]["packets"], name + ": packets")
    return events


def steps(events):
    return [(t["from"], t["to"]) for t in lab.of(events, "transition")]


def members(events, name):
    return {a["member"] for a in lab.of(events, "action", act="add", undo=False) if a["set"] == name}


def browsing(seconds, clients=20):
    """Ordinary connections: handshake, some data, and on."""
    rng = random.Random(7)
    out = []
    for i in range(seconds * 10):
        client, port = "10.0.0.%d" % (1 + i % clients), 20000 + i
        at = BEGIN + i * lab.NS // 10
        server = "192.0.2.%d" % rng.randint(1, 8)
        out += [(at, tcp(client, port, server, 443, SYN)), (at + 20 * MS, tcp(server, 443, client, port, SYN_ACK)),
                (at + 21 * MS, tcp(client, port, server, 443, ACK, b"x" * 200)),
                (at + 60 * MS, tcp(server, 443, client, port, ACK, b"y" * 1200))]
    return out


# --------------------------------------------------------------------------------------------------------- each example


def netflow():
    frames = browsing(150)
    events = replay("netflow", frames)
    rows = [row for e in lab.of(events, "records") for row in e["rows"]]
    lab.equal(len(frames), sum(row["packets"] for row in rows), "netflow: packets of all records")
    lab.equal(3, len(lab.of(events, "window")), "netflow: records of 60 s over 150 s")
    flows = {(r["src"], r["sport"], r["dst"], r["dport"]) for r in rows}
    lab.equal(2 * 1500, len(flows), "netflow: flows")
    lab.equal([], lab.of(events, "rule"), "netflow: a table that is not full")
    full = lab.of(replay("netflow", frames, "--set", "entries=1000"), "rule")
    if not full or full[0]["rule"] != "full":
        lab.fail("netflow: a full table is not told")


def port_scan():
    quiet = browsing(60)
    lab.equal([], lab.of(replay("port_scan", quiet), "rule"), "port_scan: ordinary traffic")
    at = BEGIN + 20 * lab.NS
    scan = []
    for port in range(1, 301):  # 100 ports a second, all refused
        when = at + port * 10 * MS
        scan += [(when, tcp("203.0.113.9", 55555, "10.0.0.3", port, SYN)),
                 (when + MS, tcp("10.0.0.3", port, "203.0.113.9", 55555, RST_ACK))]
    events = replay("port_scan", quiet + scan)
    lab.equal([("calm", "scan"), ("scan", "calm")], steps(events), "port_scan: levels")
    lab.equal({"203.0.113.9"}, members(events, "scanners"), "port_scan: scanners")
    first = lab.of(events, "transition")[0]
    if not at < lab.ns_of(first["time"]) <= at + 2 * lab.NS or first["rule"] != "ports":
        lab.fail("port_scan: found at %s by %s" % (first["time"], first["rule"]))
    deep = [row for e in lab.of(events, "records", probe="tried") for row in e["rows"]]
    if not deep or any("203.0.113.9" not in (row["src"], row["dst"]) for row in deep):
        lab.fail("port_scan: the deep probe sees others than the scanner")
    sweep = [(at + i * 10 * MS, tcp("203.0.113.7", 44444, "10.1.%d.%d" % (i // 250, 1 + i % 250), 22, SYN))
             for i in range(500)]
    events = replay("port_scan", quiet + sweep)
    lab.equal({"203.0.113.7"}, members(events, "scanners"), "port_scan: the one who sweeps")
    lab.equal("hosts", lab.of(events, "transition")[0]["rule"], "port_scan: the rule for a sweep")


def dns_message(name, ident, response=False):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"
    head = struct.pack(">HHHHHH", ident, 0x8180 if response else 0x0100, 1, 0, 0, 0)
    return head + labels + struct.pack(">HH", 16, 1)


def lookups(seconds):
    names = ["www.example.com", "mail.example.org", "cdn.images.example.net", "api.service.example.com"]
    out = []
    for i in range(seconds * 5):
        at, client, name = BEGIN + i * lab.NS // 5, "10.0.0.%d" % (1 + i % 9), names[i % len(names)]
        out += [(at, udp(client, 30000 + i % 1000, "10.0.0.53", 53, dns_message(name, i % 65536))),
                (at + 5 * MS, udp("10.0.0.53", 53, client, 30000 + i % 1000, dns_message(name, i % 65536, True)))]
    return out


def dns_tunnel():
    quiet = lookups(200)
    lab.equal([], lab.of(replay("dns_tunnel", quiet), "rule"), "dns_tunnel: ordinary lookups")
    rng, tunnel = random.Random(11), []
    for i in range(600):  # 20 a second for 30 s
        name = "%s.%s.t.evil.example" % ("".join(rng.choice("abcdefghijklmnop234567") for _ in range(50)), "%06x" % i)
        tunnel.append((BEGIN + 30 * lab.NS + i * 50 * MS, udp("10.0.0.66", 40000, "10.0.0.53", 53, dns_message(name, i))))
    events = replay("dns_tunnel", quiet + tunnel)
    lab.equal([("calm", "look"), ("look", "tunnel")], steps(events)[:2], "dns_tunnel: levels")
    lab.equal({"evil.example"}, {r["key"] for r in lab.of(events, "rule")}, "dns_tunnel: zones")
    clients = [row for e in lab.of(events, "records", probe="clients") for row in e["rows"]
               if row["zone"] == "evil.example"]
    lab.equal({"10.0.0.66"}, {row["client"] for row in clients}, "dns_tunnel: who uses it")
    lab.equal("calm", steps(events)[-1][1], "dns_tunnel: after it has ended")


def latency():
    def connections(server, answer_ms, base):
        out = []
        for i in range(800):  # ten a second
            client, port, at = "10.0.0.%d" % (1 + i % 5), base + i, BEGIN + i * 100 * MS
            out += [(at, tcp(client, port, server, 443, SYN)),
                    (at + answer_ms(i) * MS, tcp(server, 443, client, port, SYN_ACK)),
                    (at + (answer_ms(i) + 1) * MS, tcp(client, port, server, 443, ACK))]
        return out
    quick = connections("192.0.2.1", lambda i: 15, 10000)
    lab.equal([], steps(replay("latency", quick)), "latency: a quick server")
    slow = connections("192.0.2.2", lambda i: 900 if 100 <= i < 200 else 20, 20000)
    events = replay("latency", quick + slow)
    lab.equal([("fine", "slow"), ("slow", "fine")], steps(events), "latency: levels")
    lab.equal({"192.0.2.2"}, members(events, "slow_ones"), "latency: who is slow")


def amplification():
    quiet = lookups(60)
    lab.equal([], lab.of(replay("amplification", quiet), "rule"), "amplification: questions and answers")
    flood = [(BEGIN + 20 * lab.NS + i * MS, udp("198.51.100.%d" % (1 + i % 40), 123, "10.0.0.80", 80, b"z" * 1400))
             for i in range(10000)]  # 11 Mbit/s for 10 s
    events = replay("amplification", quiet + flood)
    lab.equal([("calm", "flood"), ("flood", "calm")], steps(events), "amplification: levels")
    lab.equal({"10.0.0.80"}, members(events, "victims"), "amplification: victims")
    abused = collections.Counter()
    for event in lab.of(events, "records", probe="abused"):
        for row in event["rows"]:
            lab.equal("10.0.0.80", row["dst"], "amplification: whose answers the deep probe sees")
            abused[row["sport"]] += row["packets"]
    lab.equal([123], list(abused), "amplification: the abused service")
    # Much the same amount, but asked for.
    asked = [(when - MS // 2, udp("10.0.0.80", 80, "198.51.100.%d" % (1 + i % 40), 123, b"q" * 600))
             for i, (when, _) in enumerate(flood)]
    lab.equal([], steps(replay("amplification", quiet + flood + asked)), "amplification: answers that were asked for")


def tls_night():
    hello = lab.read_pcap(os.path.join(lab.PCAPS, "tls_tls13_wolfssl.pcap"))
    midnight = BEGIN // (86400 * lab.NS) * 86400 * lab.NS
    frames = []
    for hour in (0, 2, 4, 6):  # a connection at each of these hours
        zero = midnight + hour * 3600 * lab.NS + 1800 * lab.NS
        frames += [(zero + i * MS, f[1], f[2]) for i, f in enumerate(hello)]
    events = replay("tls_night", frames)
    lab.equal([("day", "inventory"), ("inventory", "day")], steps(events), "tls_night: levels")
    for step, hour in zip(lab.of(events, "transition"), (1, 5)):
        lab.equal(midnight + hour * 3600 * lab.NS, lab.ns_of(step["time"]), "tls_night: a change of level")
    seen = sum(row["packets"] for e in lab.of(events, "records", probe="called") for row in e["rows"])
    lab.equal(2, seen, "tls_night: ClientHellos at night")


def elephants():
    mice = browsing(70, clients=50)
    lab.equal([], steps(replay("elephants", mice)), "elephants: mice")
    big = [(BEGIN + 5 * lab.NS + i * lab.NS // 8000, tcp("10.9.9.9", 5001, "192.0.2.200", 443, ACK, b"e" * 1400))
           for i in range(80000)]  # 92 Mbit/s for 10 s
    events = replay("elephants", mice + big)
    lab.equal([("calm", "busy"), ("busy", "calm")], steps(events), "elephants: levels")
    lab.equal({"10.9.9.9"}, {r["key"] for r in lab.of(events, "rule", rule="elephant")}, "elephants: who")
    estimate = sum(row["packets"] for e in lab.of(events, "records", probe="flow") for row in e["rows"]
                   if row["src"] == "10.9.9.9")
    seen = sum(w["packets"] for w in lab.of(events, "window") if w["level"] == "busy")
    if not 0.9 * seen < estimate < 1.1 * seen:
        lab.fail("elephants: sampled rows stand for %d packets of %d" % (estimate, seen))
    rates = {e["sample_rate"] for e in lab.of(events, "records", probe="flow")}
    if 1 not in rates or max(rates) < 4:
        lab.fail("elephants: the sampling does not follow the load: one in %s" % sorted(rates))


def hops():
    """Ordinary senders have one TTL each, or two; a sender that is forged from all over has many."""
    def with_ttl(frame_, ttl):
        return frame_[:22] + bytes([ttl]) + frame_[23:]  # the header's checksum is nobody's business here
    quiet = [(at, with_ttl(data, 64 if i % 50 else 63)) for i, (at, data) in enumerate(browsing(20))]
    lab.equal([], lab.of(replay("hops", quiet), "rule"), "hops: ordinary traffic")
    forged = [(BEGIN + 5 * lab.NS + i * 2 * MS, with_ttl(tcp("10.0.0.1", 1024 + i, "192.0.2.1", 443, SYN), 40 + i % 20))
              for i in range(400)]
    events = replay("hops", quiet + forged)
    lab.equal({"10.0.0.1"}, {r["key"] for r in lab.of(events, "rule") if r["state"] == "firing"}, "hops: who is forged")
    got = collections.Counter()
    for event in lab.of(events, "records", probe="hops"):
        for row in event["rows"]:
            got[row["src"], row["ttl"]] += row["packets"]
    want = collections.Counter((".".join(str(b) for b in data[26:30]), data[22]) for _, data in quiet + forged)
    lab.equal(dict(want), dict(got), "hops: packets of every sender and TTL")


CASES = (hops, netflow, port_scan, dns_tunnel, latency, amplification, tls_night, elephants)


def main():
    wanted = sys.argv[1:]
    for case in CASES:
        if not wanted or case.__name__ in wanted:
            case()
    names = {name[:-4] for name in os.listdir(os.path.join(lab.SOURCE, "examples")) if name.endswith(".lua")}
    untested = names - {case.__name__ for case in CASES} - {"syn_flood", "packet_counter"}
    lab.equal(set(), untested, "examples without a test")
    for name in names:
        with open(example(name), encoding="utf-8") as file:
            lines = len(file.readlines())
        if lines >= 60:
            lab.fail("%s has %d lines, and an example has less than 60" % (name, lines))
    lab.done("%d examples, each on what it is for and on what it must leave alone" % len(CASES))


main()
