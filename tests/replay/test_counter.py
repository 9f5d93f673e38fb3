# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""What counter's features say of every capture is what tshark's packets add up to; and none changes what another counts."""
import os
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

FEATURES = ("size_hist", "by_proto", "by_dscp", "by_vlan", "tcp_flags")
PROTOCOLS = {6: "tcp", 17: "udp", 1: "icmp", 58: "icmp"}


def expected(path):
    want = Counter(sizes=[0] * 12, dscp=[0] * 64)
    for fields in tshark.lines(path):
        p = tshark.packet(fields)
        # Tags in front of the first IP header: those of an encapsulated frame are not this one's.
        layers = tshark.first(fields, "frame.protocols").split(":")
        stop = next((i for i, layer in enumerate(layers) if layer in ("ip", "ipv6", "arp", "mpls", "pppoes")), len(layers))
        tags = layers[:stop].count("vlan")
        want[("untagged", "tagged", "double_tagged")[min(tags, 2)]] += 1
        want["packets"] += 1
        if not p:
            continue
        want["bytes"] += p["bytes"]
        want["sizes"][min(11, max(0, p["bytes"].bit_length() - 6))] += 1
        want["dscp"][p["tos"] >> 2] += 1
        name = PROTOCOLS.get(p["proto"], "rest")
        want[name + "_packets"] += 1
        want[name + "_bytes"] += p["bytes"]
        for flag, bit in tshark.FLAGS:
            want[flag] += p["flags"] & bit != 0
    return want


def seen(path, *features):
    got = Counter(sizes=[0] * 12, dscp=[0] * 64)
    for event in lab.of(lab.replay(path, "--template", "counter", "--features", ",".join(features), "--set", "window=24h"), "records"):
        for row in event["rows"]:
            for name, value in row.items():
                if isinstance(value, list):
                    got[name] = [a + b for a, b in zip(got[name], value)]
                elif isinstance(value, int):
                    got[name] += value
    return got


def main():
    packets = 0
    for name in lab.captures():
        path = os.path.join(lab.PCAPS, name)
        want, got = expected(path), seen(path, *FEATURES)
        for field, value in want.items():
            lab.equal(value, got[field], "%s: %s" % (name, field))
        packets += want["packets"]
    path = os.path.join(lab.PCAPS, "http-qinq-0.pcap")
    everything = seen(path, *FEATURES)
    for feature in FEATURES:
        for field, value in seen(path, feature).items():
            if field not in ("sizes", "dscp") or sum(value):
                lab.equal(everything[field], value, feature + " alone: " + field)
    lab.done("%d packets add up, feature by feature" % packets)


main()
