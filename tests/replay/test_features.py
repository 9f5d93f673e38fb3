# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 1200
"""Features and keys of flows agree with tshark, and switching one on changes no other field, on every capture.

Compared: TTL, ToS, VLAN ids, MPLS labels and sizes by 5-tuple; keys of subnets, VLANs and free lists of fields; both ways in a row.
"""
import ipaddress
import os
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

FEATURES = {
    "tcp_flags": ["syn", "syn_ack", "fin", "rst", "psh", "ack", "urg", "ece", "cwr"], "timing": ["first", "last"],
    "biflow": ["packets_back", "bytes_back"], "size_hist": ["sizes"], "ttl": ["ttl_min", "ttl_max"], "tos": ["tos"],
    "vlan": ["vlan", "inner_vlan"], "mpls": ["label"], "direction": ["direction"], "interface": ["ifindex"],
    "tunnel": ["tunnel", "tunnel_id"], "gaps": ["gaps"], "defrag": ["fragments", "unmatched"], "server": ["server", "method"],
    "end_reason": ["end_reason"], "once": ["elsewhere"],
}
REQUIRES = {"gaps": ["timing"]}
KEY = ("src", "dst", "sport", "dport", "proto", "ip_version")
# Three change what a row is: their rows are compared for themselves, those of defrag in test_sessions.py.
OTHERS = [name for name in FEATURES if name not in ("biflow", "tunnel", "defrag")]


# A capture may be longer than a window, so a row may come in parts: sums, the least, the greatest, the first.
def rows_of(events, probe, key):
    sums = {}
    for event in lab.of(events, "records", probe=probe):
        for row in event["rows"]:
            into = sums.setdefault(tuple(row[k] for k in key), {})
            for field, value in row.items():
                if field in key:
                    continue
                if field in ("first", "ttl_min"):
                    into[field] = min(into.get(field, value), value)
                elif field in ("last", "ttl_max"):
                    into[field] = max(into.get(field, value), value)
                elif field in ("sizes", "gaps"):
                    into[field] = [a + b for a, b in zip(into.get(field, [0] * len(value)), value)]
                elif field in ("tos", "vlan", "inner_vlan", "label", "direction", "ifindex", "tunnel", "tunnel_id", "server", "method",
                               "end_reason"):
                    into.setdefault(field, value)
                else:
                    into[field] = into.get(field, 0) + value
    return sums


def size_class(octets):
    return min(11, max(0, octets.bit_length() - 6))


def expected(packets, key):
    rows = {}
    for p in packets:
        row = rows.setdefault(key(p), {"packets": 0, "skbs": 0, "bytes": 0, "ttl_min": 255, "ttl_max": 0, "tos": p["tos"],
                                       "vlan": p["vlan"], "inner_vlan": p["inner_vlan"], "label": p["label"], "sizes": [0] * 12})
        row["packets"] += 1
        row["skbs"] += 1
        row["bytes"] += p["bytes"]
        row["ttl_min"] = min(row["ttl_min"], p["ttl"])
        row["ttl_max"] = max(row["ttl_max"], p["ttl"])
        row["sizes"][size_class(p["bytes"])] += 1
    return rows


def subnet(address, four, six):
    net = ipaddress.ip_address(address)
    return str(ipaddress.ip_network("%s/%d" % (net, four if net.version == 4 else six), strict=False).network_address)


def by_protocol(rows):
    """The protocol as its number."""
    return {tuple(lab.PROTOCOLS.get(v, v) if i == 4 else v for i, v in enumerate(key)): row for key, row in rows.items()}


def cut(rows, fields):
    return {key: {f: row[f] for f in fields} for key, row in rows.items()}


def against_tshark(name, path):
    packets, _, _ = tshark.read(path)
    events = lab.replay(path, CHECKED)
    rows = by_protocol(rows_of(events, "all", KEY))
    fields = ("packets", "skbs", "bytes", "ttl_min", "ttl_max", "tos", "vlan", "inner_vlan", "label", "sizes")
    want = expected(packets, lambda p: (p["src"], p["dst"], p["sport"], p["dport"], p["proto"], p["ip_version"]))
    lab.equal(want, cut(rows, fields), name + ": by 5-tuple")
    counts = ("packets", "skbs", "bytes")
    want = expected(packets, lambda p: (subnet(p["src"], 20, 33), subnet(p["dst"], 20, 33), p["ip_version"]))
    lab.equal(cut(want, counts), rows_of(events, "nets", ("src_net", "dst_net", "ip_version")), name + ": by subnets")
    want = expected(packets, lambda p: (p["dst"], p["vlan"], p["tos"], p["ip_version"]))
    lab.equal(cut(want, counts), rows_of(events, "list", ("dst", "vlan", "tos", "ip_version")), name + ": by dst, vlan and tos")
    both(name, packets, rows_of(events, "both", KEY))
    return len(packets)


def both(name, packets, rows):
    """Each packet is in the row of its conversation, and counted as going back when its source is the higher end."""
    want = {}
    for p in packets:
        ends = [(int(ipaddress.ip_address(a)), a, p[port]) for a, port in ((p["src"], "sport"), (p["dst"], "dport"))]
        if p["ip_version"] == 4:
            ends = [(0xffff << 32 | n, a, port) for n, a, port in ends]
        back = (ends[0][0], ends[0][2]) > (ends[1][0], ends[1][2])
        low, high = ends[::-1] if back else ends
        row = want.setdefault((low[1], high[1], low[2], high[2], p["proto"], p["ip_version"]),
                              dict.fromkeys(("packets", "skbs", "bytes", "packets_back", "bytes_back"), 0))
        for field, value in (("packets", 1), ("skbs", 1), ("bytes", p["bytes"]), ("packets_back", back), ("bytes_back", back * p["bytes"])):
            row[field] += value
    lab.equal(want, by_protocol(rows), name + ": both ways")


def alone(name, path):
    """Every feature alone, and all together, beside none: what they do not add is the same."""
    events = lab.replay(path, ALONE)
    none = rows_of(events, "none", KEY)
    for feature in OTHERS + ["every"]:
        rows = rows_of(events, feature, KEY)
        added = [f for other in ([feature] + REQUIRES.get(feature, []) if feature in FEATURES else OTHERS) for f in FEATURES[other]]
        for key, row in rows.items():
            if sorted(row) != sorted(none.get(key, {})) + sorted(added) and sorted(row) != sorted(list(none.get(key, {})) + added):
                lab.fail("%s: %s: fields of %s: %s" % (name, feature, key, sorted(row)))
        lab.equal(none, {key: {f: v for f, v in row.items() if f not in added} for key, row in rows.items()}, name + ": " + feature)
    return len(none)


CHECKED = lab.policy("checked.lua", [
    'flows "all" { features = { "ttl", "tos", "vlan", "mpls", "size_hist" } }',
    'flows "nets" { key = "subnet", prefix4 = 20, prefix6 = 33 }',
    'flows "list" { key = { "tos", "vlan", "dst" } }',
    'flows "both" { features = { "biflow" } }',
])
ALONE = lab.policy("alone.lua", ['flows "none" {}'] + ['flows "%s" { features = { "%s" } }' % (name, '", "'.join([name] + REQUIRES.get(name, []))) for name in OTHERS] +
               ['flows "every" { features = { %s } }' % ", ".join('"%s"' % name for name in OTHERS)])


def judge(name):
    path = os.path.join(lab.PCAPS, name)
    return against_tshark(name, path), alone(name, path)


def main():
    with ThreadPoolExecutor(2) as pool:
        packets, rows = (sum(column) for column in zip(*pool.map(judge, lab.captures())))
    lab.done("%d packets as tshark reads them; %d rows, the same whatever feature is on" % (packets, rows))


main()
