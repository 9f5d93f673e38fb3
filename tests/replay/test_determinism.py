# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 900
"""A replay depends on its capture and on nothing else.

Two runs give the same bytes. A capture in which one packet is changed gives the same lines but those of that packet's window
(and, where the totals change, the summary).
"""
import os
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

TEMPLATE = ("--template", "flows", "--set", "key=5tuple", "--features", "tcp_flags,timing", "--set", "window=100ms")


def run(path, *args):
    return lab.perilune("replay", *(args or TEMPLATE), path, "--json")[0]


def twice(name, *args):
    path = os.path.join(lab.PCAPS, name)
    one, two = run(path, *args), run(path, *args)
    if one != two:
        lab.fail("%s %s: two runs differ" % (name, " ".join(args)))
    lab.read_events(one, name)
    return one


def seq_at(events, time):
    """The window of this time."""
    found = [w["seq"] for w in lab.of(events, "window") if lab.ns_of(w["start"]) <= time < lab.ns_of(w["end"])]
    lab.equal(1, len(found), "windows that hold the time %d" % time)
    return found[0]


def changed(name, number, edit, totals_too, what):
    """Replays `name` with frame `number` changed by edit(time, data, wire): only its window's lines may differ, and they do."""
    frames = lab.read_pcap(os.path.join(lab.PCAPS, name))
    before = run(lab.write_pcap("before.pcap", frames))
    frames[number] = edit(*frames[number])
    after = run(lab.write_pcap("after.pcap", frames))
    seq = seq_at(lab.read_events(before, name), frames[number][0])
    one, two = before.split(b"\n")[:-1], after.split(b"\n")[:-1]
    lab.equal(len(one), len(two), "%s: lines after a change of %s" % (name, what))
    differ = set()
    for event_one, event_two, a, b in zip(lab.read_events(before, name), lab.read_events(after, name), one, two):
        if a != b:
            lab.equal((event_one["event"], event_one.get("seq")), (event_two["event"], event_two.get("seq")), "an event's place")
            differ.add((event_one["event"], event_one.get("seq")))
    expected = {("records", seq)}
    if totals_too:
        expected |= {("window", seq), ("summary", None)}
    lab.equal(expected, differ, "%s: the events that %s of frame %d changes" % (name, what, number))
    return len(one)


def new_port(time, data, wire):
    at = 14 + (data[14] & 15) * 4
    return time, data[:at] + struct.pack(">H", 1) + data[at + 2:], wire


def new_source(time, data, wire):
    return time, data[:26] + bytes([203, 0, 113, 7]) + data[30:], wire


def payload(time, data, wire):
    return time, data[:-1] + bytes([data[-1] ^ 0xff]), wire


def no_ip(time, data, wire):
    return time, data[:12] + b"\x88\xb5" + data[14:], wire


def main():
    outputs = 0
    for name in ("wikipedia.pcap", "http_bro.org.pcap", "communityid_ipv6.pcap", "lucid_CIC-DDoS-2019-SynFlood.pcap"):
        outputs += len(twice(name))
    outputs += len(twice("wikipedia.pcap", "--template", "flows", "--set", "entries=3", "--set", "window=20ms", "--local", "141.142.0.0/16"))
    outputs += len(twice("lucid_CIC-DDoS-2019-SynFlood.pcap", os.path.join(lab.SOURCE, "examples", "syn_flood.lua")))
    lines = 0
    for number in (0, 300, 750):
        lines += changed("http_bro.org.pcap", number, new_port, False, "another port")
        lines += changed("http_bro.org.pcap", number, new_source, False, "another source")
    lines += changed("http_bro.org.pcap", 300, no_ip, True, "another EtherType")
    lines += changed("lucid_CIC-DDoS-2019-SynFlood.pcap", 13000, new_source, False, "another source")
    # What no template looks at changes nothing at all.
    frames = lab.read_pcap(os.path.join(lab.PCAPS, "http_get.pcap"))
    before = run(lab.write_pcap("payload.pcap", frames))
    frames[3] = payload(*frames[3])
    if run(lab.write_pcap("payload.pcap", frames)) != before:
        lab.fail("a changed octet of a payload changes the events")
    lab.done("6 outputs, %d octets, are the same twice; of %d lines only those of the changed packet's window differ" % (outputs, lines))


main()
