# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
"""Captures of every kind: cut short, empty, pcapng, in ns, big-endian, Linux cooked, raw IP, loopback; clocks that stand or run back."""
import os
import struct
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

FLOWS = ("--template", "flows", "--set", "key=5tuple", "--features", "tcp_flags,timing")
SOURCE = os.path.join(lab.PCAPS, "wikipedia.pcap")


def rows(path, *args, status=0):
    events = lab.replay(path, *(args or FLOWS), status=status)
    lab.conserved(events, os.path.basename(path))
    return events, lab.sum_rows(events)


def cut_short():
    """What is whole is counted, the summary comes, and then the failure: one line, exit status 1."""
    with open(SOURCE, "rb") as file:
        whole = file.read()
    frames = lab.read_pcap(SOURCE)
    for cut in (1, 30, len(whole) // 2):
        path = lab.write("cut.pcap", whole[:-cut])
        out, errors = lab.perilune("replay", *FLOWS, path, "--json", status=1)
        kept = len(lab.read_pcap(path))
        if not 0 < kept < len(frames):
            lab.fail("cut by %d: %d whole frames" % (cut, kept))
        lab.conserved(lab.read_events(out, "cut.pcap"), "cut by %d" % cut, kept)
        text = errors.decode()
        if text.count("\n") != 1 or "cut.pcap" not in text or "cut short" not in text:
            lab.fail("cut by %d: said %r" % (cut, text))
    lab.perilune("replay", *FLOWS, lab.write("head.pcap", whole[:13]), "--json", status=2)
    lab.perilune("replay", *FLOWS, lab.write("text.pcap", b"this is no capture\n" * 9), "--json", status=2)


def empty():
    events, sums = rows(lab.write_pcap("empty.pcap", []))
    lab.equal(["start", "summary"], [e["event"] for e in events], "events of an empty capture")
    lab.equal({}, sums, "rows of an empty capture")


def same_rows():
    """The same frames in other containers give the same rows, times included."""
    _, expected = rows(SOURCE)
    frames = lab.read_pcap(SOURCE)
    paths = [lab.write_pcap("ns.pcap", frames), lab.write_pcap("us.pcap", frames, nanoseconds=False)]
    pcapng = os.path.join(lab.OUT, "ng.pcapng")
    subprocess.run(["editcap", "-F", "pcapng", SOURCE, pcapng], check=True, capture_output=True)
    paths.append(pcapng)
    big = [struct.pack(">IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1)]
    for time, data, wire in frames:
        big += [struct.pack(">IIII", time // lab.NS, time % lab.NS // 1000, len(data), wire), data]
    paths.append(lab.write("big.pcap", b"".join(big)))
    for path in paths:
        lab.equal(expected, rows(path)[1], "rows of " + os.path.basename(path))
    return len(paths), len(expected)


def nanoseconds():
    """first and last keep every digit."""
    frames = [(time + i % 1000, data, wire) for i, (time, data, wire) in enumerate(lab.read_pcap(SOURCE))]
    _, sums = rows(lab.write_pcap("digits.pcap", frames))
    ends = [value for row in sums.values() for value in (row["first"], row["last"])]
    if not sum(end % 1000 != 0 for end in ends) > len(ends) // 2:
        lab.fail("times have lost their nanoseconds")
    known = {time for time, _, _ in frames}
    for end in ends:
        if end not in known:
            lab.fail("%d ns is no frame's time" % end)


def other_links():
    """Linux cooked (v1, v2), raw IP and loopback captures: the IP packets of an Ethernet one give its rows."""
    frames = [f for f in lab.read_pcap(SOURCE) if f[1][12:14] in (b"\x08\x00", b"\x86\xdd")]
    _, expected = rows(lab.write_pcap("ip.pcap", frames))

    def sll(data):
        return struct.pack(">HHH8s", 0, 1, 6, data[6:12]) + data[12:]

    def sll2(data):
        return data[12:14] + struct.pack(">HIHBB8s", 0, 1, 1, 0, 6, data[6:12]) + data[14:]

    def null(data):
        return struct.pack("<I", 2 if data[12:14] == b"\x08\x00" else 10) + data[14:]

    for name, link, make in (("sll", 113, sll), ("sll2", 276, sll2), ("raw", 101, lambda d: d[14:]), ("null", 0, null)):
        made = []
        for time, data, wire in frames:
            other = make(data)
            made.append((time, other, wire - len(data) + len(other)))
        lab.equal(expected, rows(lab.write_pcap(name + ".pcap", made, link=link))[1], "rows of a capture of link type " + name)
    path = lab.write_pcap("wifi.pcap", frames, link=105)
    out, errors = lab.perilune("replay", *FLOWS, path, "--json", status=2)
    if out or "link type" not in errors.decode():
        lab.fail("a capture of another link type: said %r" % errors)


def clocks():
    """Clocks that begin at 0, stand still, run back, and jump by years."""
    frame = lab.ethernet(0x0800, lab.ipv4("10.0.0.1", "10.0.0.2", 17, lab.udp(1, 2, b"x" * 10)))
    second = lab.NS
    year = 365 * 86400 * second
    for name, times, windows in (
            ("zero", [0, 0, 0], 1),
            ("still", [year] * 5, 1),
            ("back", [year, year + 100, year - second, year + 200, year - 2 * second], 1),
            ("jump", [year, 2 * year, 20 * year], 3),
            ("edge", [year, year + second - 1000, year + second, year + 2 * second], 3)):
        events = lab.replay(lab.write_pcap(name + ".pcap", [(t, frame) for t in times]), "--template", "flows")
        lab.conserved(events, "clock: " + name, len(times))
        lab.equal(windows, len(lab.of(events, "window")), "clock: %s: windows" % name)
    # What comes exactly at a window's end belongs to the next.
    lab.equal([2, 1, 1], [w["packets"] for w in lab.of(events, "window")], "packets at the edges of windows")
    # µs decide about windows; frames that share one stay together.
    near = [year + 999999 * 1000 + 999, year]
    events = lab.replay(lab.write_pcap("near.pcap", [(t, frame) for t in sorted(near)]), "--template", "flows")
    lab.equal([2], [w["packets"] for w in lab.of(events, "window")], "packets 1 ns in front of the end")


def main():
    cut_short()
    empty()
    containers, tuples = same_rows()
    nanoseconds()
    other_links()
    clocks()
    lab.done("%d containers and 4 other link layers give the same %d rows; cut short, empty, and 5 odd clocks" % (containers, tuples))


main()
