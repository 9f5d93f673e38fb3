# SPDX-License-Identifier: Apache-2.0
"""Schedules in a replay: on the capture's clock they raise and cap the level where they say, windows end there, and nothing is lost."""
import datetime
import sys
import zoneinfo

from lab import NS, equal, done, ethernet, fail, ipv4, ns_of, of, perilune, replay, udp, write, write_pcap

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

POLICY = """-- Deeper at night, deepest for a moment now and then, never so during the backup.
local from = flows "from" { key = "src" }
return policy "nights" {
  attach = { iface = "lo", hook = "xdp" },
  window = "10m",
  always = { counter "totals" {} },
  levels = { level "calm" {}, level "alert" { from }, level "siege" { from, flows "to" { key = "dst" }, window = "5m" } },
  schedules = {
    schedule "night"  { between = { "22:30", "02:30" }, zone = "Europe/Berlin", hold = "alert" },
    schedule "glance" { cron = "15 */2 * * *", lasting = "90s", zone = "Europe/Berlin", hold = "siege" },
    schedule "backup" { between = { "02:00", "02:20" }, zone = "Europe/Berlin", cap = "calm" },
  },
}
"""


def utc(year, month, day, hour, minute, second=0, fold=0):
    """ns of a moment by Berlin's clocks."""
    return int(datetime.datetime(year, month, day, hour, minute, second, tzinfo=BERLIN, fold=fold).timestamp()) * NS


def frames(first, last, every):
    frame = ethernet(0x0800, ipv4("192.0.2.1", "192.0.2.2", 17, udp(1, 2)))
    return [(at, frame) for at in range(first, last, every)]


def main():
    policy = write("nights.lua", POLICY.encode())
    # The night in which clocks are set back: the hour from two to three comes twice.
    first, last = utc(2026, 10, 24, 20, 0), utc(2026, 10, 25, 6, 0)
    sent = frames(first, last, 7 * NS)
    capture = write_pcap("night.pcap", sent)
    events = replay(capture, policy)
    wanted = [
        (utc(2026, 10, 24, 20, 15), "calm", "siege", ["schedule glance"], []),
        (utc(2026, 10, 24, 20, 16, 30), "siege", "calm", [], []),
        (utc(2026, 10, 24, 22, 15), "calm", "siege", ["schedule glance"], []),
        (utc(2026, 10, 24, 22, 16, 30), "siege", "calm", [], []),
        (utc(2026, 10, 24, 22, 30), "calm", "alert", ["schedule night"], []),
        (utc(2026, 10, 25, 0, 15), "alert", "siege", ["schedule glance"], []),
        (utc(2026, 10, 25, 0, 16, 30), "siege", "alert", ["schedule night"], []),
        (utc(2026, 10, 25, 2, 0), "alert", "calm", ["schedule night"], ["schedule backup"]),
        (utc(2026, 10, 25, 2, 20), "calm", "alert", ["schedule night"], []),
        (utc(2026, 10, 25, 2, 30), "alert", "calm", [], []),
        # The night and the backup were; the glance goes by what the clock shows.
        (utc(2026, 10, 25, 2, 15, fold=1), "calm", "siege", ["schedule glance"], []),
        (utc(2026, 10, 25, 2, 16, 30, fold=1), "siege", "calm", [], []),
        (utc(2026, 10, 25, 4, 15), "calm", "siege", ["schedule glance"], []),
        (utc(2026, 10, 25, 4, 16, 30), "siege", "calm", [], []),
    ]
    found = [(ns_of(e["time"]), e["from"], e["to"], e["held_by"], e["capped_by"]) for e in of(events, "transition")]
    for mine, theirs in zip(wanted + [None], found + [None]):
        equal(mine, theirs, "a transition")
    windows = of(events, "window")
    # A window that was due then anyway is the clock's.
    length = {"calm": 600, "alert": 600, "siege": 300}
    ended = {ns_of(w["end"]): "clock" if w["seconds"] == length[w["level"]] else "schedule" for w in windows if w["seconds"]}
    equal([ended.get(at) for at, *_ in wanted].count("clock"), 2, "changes at the end of a window")
    equal([at for at, *_ in wanted if ended[at] == "schedule"], [ns_of(w["end"]) for w in windows if w["cut"] == "schedule"],
          "windows cut by schedules")
    equal(len(sent), sum(w["packets"] for w in windows), "packets")
    for window in windows:
        begin, end = ns_of(window["start"]), ns_of(window["end"])
        level = "calm"
        for at, _, to, _, _ in wanted:
            level = to if at <= begin else level
        equal(level, window["level"], "the level of the window that begins at %s" % window["start"])
        equal(sum(begin <= at < end for at, _ in sent), window["packets"], "packets of the window that begins at %s" % window["start"])
    reasons = [e["reason"] for e in of(events, "transition")]
    equal("alert held by schedule night, capped at calm by schedule backup (02:00 to 02:20, Europe/Berlin)", reasons[7], "a reason")

    # Long silence: the same, though hardly a window is looked at. And the first packet may come in the middle of an occurrence.
    quiet = write_pcap("quiet.pcap", frames(first, first + NS, NS) + frames(last, last + NS, NS))
    rare = replay(quiet, policy)
    equal(found, [(ns_of(e["time"]), e["from"], e["to"], e["held_by"], e["capped_by"]) for e in of(rare, "transition")], "in silence")
    middle = replay(write_pcap("middle.pcap", frames(first + 2 * 3600 * NS + 45 * 60 * NS, last, 60 * NS)), policy)
    equal(("calm", "alert", 1), tuple(of(middle, "transition")[0][k] for k in ("from", "to", "seq")), "at the first packet")
    equal(0, of(middle, "window")[0]["packets"], "packets before it")

    # Jitter is the same whenever it is replayed, and differs from policy to policy.
    moving = POLICY.replace('lasting = "90s"', 'lasting = "90s", jitter = "20m"')
    outs = [perilune("replay", write("moving.lua", moving.encode()), capture, "--json")[0] for _ in range(2)]
    if outs[0] != outs[1]:
        fail("a replay with jitter is another each time")
    renamed = perilune("replay", write("renamed.lua", moving.replace('"nights"', '"others"').encode()), capture, "--json")[0]
    if renamed.replace(b'"others"', b'"nights"').replace(b"renamed.lua", b"moving.lua") == outs[0]:
        fail("another policy has the same jitter")
    done("14 transitions where the zone's clocks say, %d packets in %d windows" % (len(sent), len(windows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
