# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""A probe that samples looks at one packet in so many, always the same ones in a replay, and counts each for all that it stands for:
its records and measures are estimates of all packets. TCP's SYN, FIN and RST are counted each, so they are exact."""
import math
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

ONE_IN = 16
POLICY = """return policy "sampled" { attach = { iface = "lo", hook = "xdp" }, window = "24h",
  always = {
    flows "some" { key = "src", features = { "tcp_flags", "size_hist" }, sample = %d },
    flows "all" { key = "src", features = { "tcp_flags", "size_hist" } },
    counter "one" { sample = 1 },
  },
  rules = { rule "r" { when = sum("some.packets"):above(%d), clear = sum("some.packets"):below(1), act = { log "seen" } } },
}
"""
EXACT = ("syn", "syn_ack", "fin", "rst")
GREATEST = {"bytes": 65535}  # of one packet; of other fields 1
# Captures in which every template finds something.
MANY = ["arp-who-has.pcap", "dns53.pcap", "communityid_icmp.pcap", "http_get.pcap", "tls_tls1.2.pcap", "tls_tls13_wolfssl.pcap",
        "quic_curl-8.1.2-dev-http3-www-google-de.pcap"]
TIMES = 200


def path(name):
    return os.path.join(lab.PCAPS, name)


def sums(events, probe):
    """Every field of a probe's records, added up; lists by their places."""
    out = {}
    for e in lab.of(events, "records", probe=probe):
        for row in e["rows"]:
            for name, value in row.items():
                for i, one in enumerate(value if isinstance(value, list) else [value]):
                    if isinstance(one, int) and name not in ("ip_version", "sport", "dport"):
                        key = "%s[%d]" % (name, i) if isinstance(value, list) else name
                        out[key] = out.get(key, 0) + one
    return out


def by_source(events, probe, field):
    return {row["src"]: row[field] for e in lab.of(events, "records", probe=probe) for row in e["rows"] if row[field]}


def bound(name, total, one_in):
    """Five times the deviation of an estimate were every packet drawn by itself; even gaps deviate less."""
    return 5 * math.sqrt((one_in - 1) * total * GREATEST.get(name, 1)) + one_in


def judge(name, estimate, truth, one_in):
    if abs(estimate - truth) > bound(name, truth, one_in):
        lab.fail("%s: %d stands for %d, which is further off than %d" % (name, estimate, truth, bound(name, truth, one_in)))


def estimates(capture):
    sum_of_all = sums(lab.replay(path(capture), "--template", "flows", "--set", "window=24h"), "flows")["packets"]
    # Far above what is seen, and below what that stands for.
    policy = lab.write("sampled.lua", (POLICY % (ONE_IN, sum_of_all // 2)).encode())
    first, second = lab.replay(path(capture), policy), lab.replay(path(capture), policy)
    some, every = sums(first, "some"), sums(first, "all")
    lab.equal(some, sums(second, "some"), "the same packets each time")
    lab.equal({ONE_IN}, {e["sample_rate"] for e in lab.of(first, "records", probe="some")}, "sample_rate")
    lab.equal({1}, {e["sample_rate"] for e in lab.of(first, "records", probe="one")}, "sample_rate of all packets")
    for name in EXACT:
        lab.equal(by_source(first, "all", name), by_source(first, "some", name), name)
    for name, truth in every.items():
        judge(name, some.get(name, 0), truth, ONE_IN)
    if not any("seen" in str(event) for event in first):
        lab.fail("a sum of a sampled probe does not stand for all packets")
    if some == every:
        lab.fail("%s: all packets were looked at" % capture)
    return every["packets"]


def templates():
    """Every template counts what a packet stands for."""
    names = sorted(name for name in os.listdir(os.path.join(lab.SOURCE, "templates"))
                   if os.path.isdir(os.path.join(lab.SOURCE, "templates", name)))
    frames = [(0, frame[1]) for name in MANY for frame in lab.read_pcap(path(name))]
    many = lab.write_pcap("many.pcap", frames * TIMES)
    for name in names:
        def packets(one_in):
            settings = ("--set", "window=24h", "--set", "sample=%d" % one_in)
            events = lab.replay(many, "--template", name, *settings)
            beside = sum(e["loss"]["limited"] + e["loss"]["map_full"] for e in lab.of(events, "records"))
            return sums(events, name).get("packets", 0) + beside
        truth, estimate = packets(1), packets(3)
        if truth < 200:
            lab.fail("%s: only %d packets to judge by" % (name, truth))
        judge(name, estimate, truth, 3)
    return len(names)


def main():
    total = sum(estimates(c) for c in ("lucid_CIC-DDoS-2019-WebDDoS.pcap", "http_bro.org.pcap", "http_methods.pcap"))
    number = templates()
    for wrong, why in (("sample = 0", b"sample"), ('sample = "often"', b"sample"), ("sample = 2000000", b"sample"),
                       ("sample = { from = 10, to = 12 }", b"doubling"), ('sample = "auto"', b"no budget")):
        bad = lab.write("bad.lua", ('return policy "p" { attach = { iface = "lo" }, always = { flows "f" { %s } } }\n' % wrong).encode())
        _, err = lab.perilune("check", bad, status=2)
        if why not in err:
            lab.fail("%s: %s" % (wrong, err.decode()))
    lab.done("%d packets, one in %d looked at; %d templates" % (total, ONE_IN, number))


main()
