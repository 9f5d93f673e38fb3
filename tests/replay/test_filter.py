# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Filters of probes agree with tcpdump on every Ethernet capture, and at TC with tags that the kernel keeps beside the frame.

One policy has a counter for each expression; what it counts is what `tcpdump -r FILE --count EXPRESSION` counts.
"""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

EXPRESSIONS = [
    "ip", "ip6", "arp", "tcp", "udp", "icmp or icmp6", "sctp", "igmp",
    "port 80", "tcp port 443 or udp port 53", "portrange 1024-2048", "src port 53", "dst port 80 and not ip6",
    "host 10.0.0.1", "src net 192.168.0.0/16", "dst net 10.0.0.0/8 or dst net 172.16.0.0/12", "ip6 host fe80::1", "net 2001::/16",
    "tcp[tcpflags] & (tcp-syn|tcp-fin) != 0", "tcp[tcpflags] == tcp-syn", "tcp[((tcp[12] & 0xf0) >> 2):4] = 0x47455420",
    "ip[0] & 0xf != 5", "ip[6:2] & 0x1fff != 0", "ip[8] < 64", "ip6[6] = 0", "icmp[icmptype] = icmp-echo",
    "less 100", "greater 1000", "len > 200 and len <= 600", "ether broadcast or ether multicast", "ether proto 0x0806",
    "ether[0] & 1 = 0 and ip[2:2] % 3 = 1", "vlan", "vlan and tcp", "vlan 2 or vlan 3 and vlan", "mpls", "pppoes and ip",
    "not (ip or ip6 or arp)", "ip proto 50 or ip6 proto 50", "udp[4:2] * 2 > 100",
]
PROBES = "\n".join('counter "f%d" { filter = "%s" },' % pair for pair in enumerate(EXPRESSIONS))
POLICY = 'return policy "filters" { attach = { iface = "lo", hook = "tc" }, window = "1h", always = {\n' + PROBES + "} }\n"


def tcpdump(path, expression):
    run = subprocess.run(["tcpdump", "-nr", path, "--count", expression], capture_output=True, check=False, text=True)
    found = re.search(r"^(\d+) packets?$", run.stdout, re.M)
    if not found:
        lab.fail("tcpdump -r %s '%s': %s" % (path, expression, run.stderr))
    return int(found[1])


def compare(events, path, what):
    counts = {}
    for event in lab.of(events, "records"):
        counts[event["probe"]] = counts.get(event["probe"], 0) + sum(row["skbs"] for row in event["rows"])
    matched = 0
    for number, expression in enumerate(EXPRESSIONS):
        have = counts["f%d" % number]
        lab.equal(tcpdump(path, expression), have, "%s: %s" % (what, expression))
        matched += have
    return matched


def is_ethernet(path):
    with open(path, "rb") as file:
        header = file.read(24)
    return header[20:24] in (b"\1\0\0\0", b"\0\0\0\1") and header[:4] != b"\x0a\x0d\x0d\x0a"


policy = lab.write("filters.lua", POLICY.encode())
captures = matched = 0
for name in lab.captures():
    path = os.path.join(lab.PCAPS, name)
    if is_ethernet(path):
        matched += compare(lab.replay(path, policy), path, name)
        captures += 1
if captures < 40 or matched < 10000:
    lab.fail("only %d captures and %d matches" % (captures, matched))
lab.done("%d expressions on %d captures, %d matches, as tcpdump" % (len(EXPRESSIONS), captures, matched))
