# SPDX-License-Identifier: Apache-2.0
# ctest: cost 60
# ctest: timeout 1200
"""Rows and totals of a replay agree with tshark on every capture, packet for packet and octet for octet.

What is compared: `flows` by 5-tuple with every TCP flag and the first and last time (in ns), by src, dst and pair; `counter`'s
packets, octets and frame octets; --local. And rows + loss = packets in each window of each capture, also with a map of one
row.

The outer header of a tunnel is its row, and so it is here of what tshark says: the first IP header behind Ethernet, VLAN tags,
MPLS labels, PPPoE or SNAP.
"""
import os
import sys
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

# Frames whose IP header claims more octets than they had on the wire: { capture: (frames, octets claimed in vain) }.
LIE = {"tcp_reassembly.pcap": (5, 64), "trunc_ip6-ext-trunc.pcap": (1, 20)}
# Frames that hold no IP header right behind Ethernet and VLAN tags, and why: { capture: { reason: frames } }.
NOT_IP = {
    "arp-who-has.pcap": {"not_ip": 2}, "pppoe.pcap": {"not_ip": 40},
    "q-in-q.pcap": {"not_ip": 1}, "wikipedia.pcap": {"not_ip": 10}, "trunc_ip4-trunc.pcap": {"truncated": 1},
}
KEYS_ON = ["communityid_ipv6.pcap", "wikipedia.pcap", "http-qinq-0.pcap", "ipv6-fragmented-dns.pcap", "lucid_CIC-DDoS-2019-SynFlood.pcap"]
KEYS = {"src": ("src", "ip_version"), "dst": ("dst", "ip_version"), "pair": ("src", "dst", "ip_version")}


def compare(name, expected, actual):
    for key in sorted(set(expected) | set(actual), key=str):
        want, have = expected.get(key), actual.get(key)
        if want != have:
            lab.fail("%s: row %s: tshark %s, perilune %s" % (name, key, want, have))


def by_tuple(name, path, packets, frames):
    events = lab.replay(path, "--template", "flows", "--set", "key=5tuple", "--features", "tcp_flags,timing")
    lab.conserved(events, name, frames)
    expected = tshark.rows(packets)
    compare(name, expected, lab.sum_rows(events))
    reasons = {k: v for k, v in lab.of(events, "summary")[0]["not_parsed_by"].items() if v}
    lab.equal({k: v for k, v in NOT_IP.get(name, {}).items() if v}, reasons, name + ": not parsed")
    lab.equal(frames - len(packets), sum(reasons.values()), name + ": frames that are not IP")
    return len(expected)


def one_row(name, path, frames):
    """A map of one row: what does not fit is counted, and nothing is lost or doubled."""
    events = lab.replay(path, "--template", "flows", "--set", "key=5tuple", "--set", "entries=1")
    _, lost = lab.conserved(events, name + " (entries=1)", frames)
    for event in lab.of(events, "records"):
        if len(event["rows"]) > 1:
            lab.fail("%s: %d rows in a map of one" % (name, len(event["rows"])))
    return lost


def counter(name, path, packets, frames, octets):
    events = lab.replay(path, "--template", "counter", "--features", "tcp_flags")
    lab.conserved(events, name, frames)
    sums = {}
    for event in lab.of(events, "records"):
        for row in event["rows"]:
            for field, value in row.items():
                if field != "direction":
                    sums[field] = sums.get(field, 0) + value
    rows = tshark.rows(packets, key=())
    for field, value in (rows.get(()) or {}).items():
        if field not in ("packets", "skbs", "first", "last"):
            lab.equal(value, sums[field], "%s: counter's %s" % (name, field))
    lab.equal((frames, frames, octets), (sums["packets"], sums["skbs"], sums["frame_bytes"]), name + ": counter's totals")


def judge(name):
    path = os.path.join(lab.PCAPS, name)
    packets, frames, octets = tshark.read(path)
    lies = [p["claimed"] - p["bytes"] for p in packets if p["claimed"] > p["bytes"]]
    lab.equal(LIE.get(name, (0, 0)), (len(lies), sum(lies)), name + ": frames that claim too much")
    tuples = by_tuple(name, path, packets, frames)
    counter(name, path, packets, frames, octets)
    lost = one_row(name, path, frames)
    for key in KEYS if name in KEYS_ON else ():
        events = lab.replay(path, "--template", "flows", "--set", "key=" + key)
        rows = tshark.rows(packets, KEYS[key])
        have = lab.sum_rows(events)
        short = {k: {f: v[f] for f in ("packets", "skbs", "bytes")} for k, v in rows.items()}
        compare("%s by %s" % (name, key), short, have)
    return tuples, frames, sum(p["bytes"] for p in packets), lost


def inside(name):
    """With `tunnel`, rows are those of the innermost IP headers."""
    path = os.path.join(lab.PCAPS, name)
    packets, frames, _ = tshark.read(path, inner=True)
    if all(p["depth"] == 1 for p in packets):
        return 0
    events = lab.replay(path, "--template", "flows", "--set", "key=5tuple", "--features", "tcp_flags,timing,tunnel")
    lab.conserved(events, name + " (tunnel)", frames)
    have = lab.sum_rows(events)
    for row in have.values():
        row.pop("tunnel"), row.pop("tunnel_id")
    compare(name + " (tunnel)", tshark.rows(packets), have)
    return sum(p["depth"] > 1 for p in packets)


def local():
    """--local: frames from these networks are outgoing, all others come in, and both are counted."""
    for name, nets, is_local in (
            ("communityid_sctp.pcap", "192.168.170.8", lambda p: p["src"] == "192.168.170.8"),
            ("wikipedia.pcap", "141.142.0.0/16,fe80::/10", lambda p: p["src"].startswith(("141.142.", "fe80:")))):
        path = os.path.join(lab.PCAPS, name)
        packets, frames, _ = tshark.read(path)
        events = lab.replay(path, "--template", "flows", "--set", "key=5tuple", "--features", "tcp_flags,timing", "--local", nets)
        lab.conserved(events, name + " --local", frames)
        compare(name + " --local", tshark.rows(packets), lab.sum_rows(events))
        ways = lab.of(events, "summary")[0]["directions"]
        out = [p for p in packets if is_local(p)]
        lab.equal((len(out), sum(p["bytes"] for p in out)), (ways["egress"]["packets"], ways["egress"]["bytes"]), name + ": egress")
        lab.equal(frames - len(out), ways["ingress"]["packets"], name + ": ingress")
        if not 0 < len(out) < frames:
            lab.fail("%s: --local %s chooses %d of %d frames" % (name, nets, len(out), frames))


def main():
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(judge, lab.captures()))
        tunnelled = sum(pool.map(inside, lab.captures()))
    tuples, frames, octets, lost = (sum(column) for column in zip(*results))
    if lost < 1000:
        lab.fail("a map of one row lost only %d packets: it is not in force" % lost)
    if tunnelled < 70:
        lab.fail("only %d packets in tunnels" % tunnelled)
    local()
    lab.done("%d packets in tunnels; %d captures, %d 5-tuples, %d packets, %d IP octets agree with tshark; with one row %d of them are counted as loss"
             % (tunnelled, len(results), tuples, frames, octets, lost))


main()
