# SPDX-License-Identifier: Apache-2.0
# ctest: cost 35
# ctest: once
# ctest: timeout 900
"""Broken packets are counted once: each capture's frames and the table's, cut at every length and with octets changed at random,
through every template with all its features. Whatever they look like, rows + loss = packets, and the loss is what was not parsed, by reason.

PERILUNE_FUZZ: how many frames are changed (20000); PERILUNE_FUZZ_SEED: the seed.
"""
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
import table  # noqa: E402
import lab  # noqa: E402

POLICY = """
return policy "fuzz" {
  attach = { iface = "lo", hook = "xdp" }, window = "1h",
  always = {
    counter "totals" { features = { "tcp_flags" } },
    flows "outer" { features = { "tcp_flags", "timing" }, entries = 1000000 },
    flows "inner" { features = { "tcp_flags", "timing", "tunnel" }, entries = 1000000 },
    flows "few" { key = "pair", features = { "tunnel" }, entries = 1 },
  },
}
"""
# Every template with all that it can do, and once more with hardly any room, where most goes another way: both count the same packets.
TEMPLATES = {
    "flows": ({"features": ("tcp_flags", "timing", "gaps", "tunnel", "ttl", "tos", "vlan", "mpls", "size_hist", "server", "end_reason",
                            "biflow", "defrag", "direction", "interface")}, 'entries = 1000000', 'entries = 1'),
    "netflow": ({}, 'entries = 1000000', 'entries = 1'),
    "cryptomining": ({}, 'entries = 1000000', 'entries = 1'),
    "ddos": ({}, 'packets = 2', 'packets = 2, entries = 3, features = { "ring" }'),
    "tcp": ({"key": "connection", "features": ("handshake", "rtt", "loss")}, 'entries = 100000', 'entries = 1'),
    "dns": ({"key": "message", "features": ("latency", "tcp", "name")}, 'entries = 100000', 'entries = 1'),
    "icmp": ({"key": "about", "features": ("latency", "mtu")}, 'entries = 100000', 'entries = 1'),
    "arp": ({"features": ("sender", "timing")}, 'entries = 100000', 'entries = 1'),
    "http": ({"key": "request", "features": ("classes", "timing", "tunnel")}, 'entries = 10000', 'entries = 1'),
    "tls": ({"key": "hello", "features": ("ciphers", "timing", "tunnel")}, 'entries = 10000', 'entries = 1'),
    "quic": ({"key": "connection", "features": ("timing",)}, 'entries = 10000', 'entries = 1'),
    "payload": ({"key": "pair", "features": ("first", "match", "timing", "tunnel")}, 'entries = 10000, patterns = { { "GET", within = 200 }, "HTTP" }',
                'entries = 1, patterns = { { "GET", within = 200 }, "HTTP" }'),
}
TOGETHER = (("flows",), ("netflow", "cryptomining", "ddos", "arp", "icmp"), ("tcp", "dns"), ("http", "quic"), ("tls", "payload"))
EVERY = ("flows", "netflow", "cryptomining", "ddos")  # these count every IP packet
COUNT = int(os.environ.get("PERILUNE_FUZZ", "20000"))
SEED = int(os.environ.get("PERILUNE_FUZZ_SEED", "1"))
# What a length, a type or a protocol may be changed to, besides anything.
INTERESTING = [0, 1, 4, 6, 17, 41, 44, 47, 50, 51, 58, 59, 60, 0x45, 0x4f, 0x60, 0x81, 0x88, 0x86, 0xdd, 0xff]


def samples():
    frames = [case.frame for case in table.CASES]
    for name in lab.captures():
        try:
            frames += [frame for _, frame, _ in lab.read_pcap(os.path.join(lab.PCAPS, name))[:200]]
        except KeyError:  # pcapng
            continue
    return [frame for frame in frames if len(frame) >= 14]


def mutate(frame, rng):
    data = bytearray(frame[:rng.choice((len(frame), len(frame), 128, rng.randint(14, len(frame))))])
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(12, min(len(data), rng.choice((24, 60, 120, 200))) + 1)
        if at < len(data):
            data[at] = rng.choice(INTERESTING) if rng.random() < 0.5 else rng.randrange(256)
    return bytes(data)


def probe(template, name, room):
    said, knobs = TEMPLATES[template][0], [room]
    if "key" in said:
        knobs.append('key = "%s"' % said["key"])
    if said.get("features"):
        knobs.append("features = { %s }" % ", ".join('"%s"' % f for f in said["features"]))
    return '%s "%s" { %s },\n' % (template, name, ", ".join(knobs))


def others(what, path, count):
    """What counts every IP packet does; the others count none twice. Where a packet ends up does not change whether it counts."""
    for templates in TOGETHER:
        text = 'return policy "others" { attach = { iface = "lo", hook = "xdp" }, window = "1h", always = {\n'
        text += "".join(probe(t, t, TEMPLATES[t][1]) + probe(t, t + "_few", TEMPLATES[t][2]) for t in templates) + "} }\n"
        events = lab.read_events(lab.perilune("replay", lab.write("others.lua", text.encode()), path, "--json")[0], what)
        sums = {}
        for event in lab.of(events, "records"):
            loss = event["loss"]
            sums[event["probe"]] = sum(r["packets"] for r in event["rows"]) + loss["map_full"] + loss["limited"] + loss["ring_full"]
            if event["template"] in EVERY:
                lab.equal(count, sums[event["probe"]] + loss["not_parsed"], "%s: %s" % (what, event["probe"]))
        lab.equal(2 * len(templates), len(sums), what + ": probes")
        for template in templates:
            lab.equal(sums[template], sums[template + "_few"], "%s: %s with much room and with little" % (what, template))
            if sums[template] > count:
                lab.fail("%s: %s counted %d of %d packets" % (what, template, sums[template], count))


def run(what, frames):
    """Each of them is counted once by every probe; what is in no row is in the loss."""
    path = lab.write_pcap("fuzz.pcap", [(i * 1000, frame) for i, frame in enumerate(frames)])
    events = lab.read_events(lab.perilune("replay", lab.write("fuzz.lua", POLICY.encode()), path, "--json")[0], what)
    others(what, path, len(frames))
    os.unlink(path)
    lab.conserved(events, what, len(frames))
    sums = table.counter(events)
    lab.equal((len(frames), sum(len(f) for f in frames)), (sums["packets"], sums["frame_bytes"]), what + ": counter")
    lab.equal({"outer", "inner", "few"}, {e["probe"] for e in lab.of(events, "records")} - {"totals"}, what + ": probes")
    return lab.of(events, "summary")[0]


def main():
    rng = random.Random(SEED)
    base = samples()
    cut = [case.frame[:end] for case in table.CASES for end in range(14, len(case.frame) + 1)]
    run("cut at every length", cut)
    left, flawed, unparsed = COUNT, 0, 0
    while left > 0:
        batch = min(left, 100000)
        summary = run("seed %d, %d left" % (SEED, left), [mutate(rng.choice(base), rng) for _ in range(batch)])
        flawed += sum(summary["flawed_by"].values())
        unparsed += sum(summary["not_parsed_by"].values())
        left -= batch
    if min(flawed, unparsed) < COUNT // 100:
        lab.fail("only %d flawed and %d not parsed of %d" % (flawed, unparsed, COUNT))
    lab.done("%d cut and %d changed frames, each counted once; %d had flaws, %d were not parsed" % (len(cut), COUNT, flawed, unparsed))


main()
