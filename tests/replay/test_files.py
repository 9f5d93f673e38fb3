# SPDX-License-Identifier: Apache-2.0
"""Several captures in a row, an end, another pace, and what each level saw."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

COUNTER = ("--template", "counter", "--set", "window=1s")
POLICY = lab.write("two.lua", b"""
return policy "two" { attach = { hook = "xdp" }, window = "1s", always = { counter "all" {} },
  levels = { level "calm" {}, level "busy" { flows "to" { key = "dst" }, window = "500ms" } },
  rules = { rule "many" { when = rate("all.packets"):above "50/s", clear = rate("all.packets"):below("50/s"):lasting "3s",
    hold = "busy" } } }
""")


def frames(begin, count, gap):
    """count frames of UDP from `begin` (s) on, one every `gap` s."""
    packet = lab.ethernet(0x800, lab.ipv4("10.0.0.1", "10.0.0.2", 17, lab.udp(1, 2, b"x" * 40)))
    return [(int((begin + i * gap) * lab.NS), packet) for i in range(count)]


def events(*args):
    """(events, standard error) of a replay with these arguments."""
    out, errors = lab.perilune("replay", *args, "--json")
    return lab.read_events(out, args[-1]), errors.decode()


def windows(found):
    return [(lab.ns_of(w["start"]) / lab.NS, w["packets"]) for w in lab.of(found, "window") if w["packets"]]


def in_a_row():
    one, two = lab.write_pcap("one.pcap", frames(1000, 5, 0.1)), lab.write_pcap("two.pcap", frames(1010, 7, 0.1))
    found, errors = events(*COUNTER, one, two)
    lab.equal(("", [(1000, 5), (1010, 7)]), (errors, windows(found)), "two captures, ten seconds apart")
    found, errors = events(*COUNTER, two, one)
    lab.equal([(1010, 11), (1011, 1)], windows(found), "a capture that follows an earlier one's end")
    if "one.pcap begins 10.6 s before" not in errors:
        lab.fail("a shift that nobody is told of: %r" % errors)
    found, _ = events(*COUNTER, one, two, "--pps", "4")
    lab.equal([(1000, 4), (1001, 4), (1002, 4)], windows(found), "twelve frames at four a second")
    lab.equal(0, lab.perilune("replay", *COUNTER, one, two)[0].count(b"shifted"), "shifts on standard output")


def until():
    path = lab.write_pcap("until.pcap", frames(2000, 30, 0.1))
    for text in ("1s", "1970-01-01T00:33:21Z", "1970-01-01T01:33:21+01:00"):
        found, _ = events(*COUNTER, path, "--until", text)
        lab.equal([(2000, 10)], windows(found), "frames before --until " + text)
        lab.equal(2001, lab.ns_of(lab.of(found, "summary")[0]["time"]) / lab.NS, "the end at --until " + text)
    found, _ = events(*COUNTER, path, "--until", "1500ms")
    lab.equal([(2000, 10), (2001, 5)], windows(found), "frames before an end within a window")
    found, _ = events(*COUNTER, path, "--until", "10s")
    lab.equal(10, lab.of(found, "summary")[0]["seconds"], "seconds of a replay that goes on after its frames")


def levels():
    path = lab.write_pcap("busy.pcap", frames(3000, 10, 0.1) + frames(3001, 200, 0.01) + frames(3003, 1, 1))
    found, _ = events(POLICY, path, "--until", "60s")
    lab.equal([("calm", "busy"), ("busy", "calm")], [(t["from"], t["to"]) for t in lab.of(found, "transition")], "transitions")
    seen = lab.of(found, "summary")[0]["levels"]
    of_windows = {}
    for window in lab.of(found, "window"):
        into = of_windows.setdefault(window["level"], [0, 0])
        into[0] += 1
        into[1] += window["packets"]
    lab.equal({"calm": of_windows["calm"], "busy": of_windows["busy"]}, {s["level"]: [s["windows"], s["packets"]] for s in seen},
              "what each level saw")
    lab.equal([("calm", 2), ("busy", 1)], [(s["level"], s["entered"]) for s in seen], "how often they were entered")
    lab.equal(60, sum(s["seconds"] for s in seen), "their time")
    text = lab.perilune("replay", POLICY, path, "--until", "60s")[0].decode()
    for wanted in ("calm → busy", "after 2 s at calm: 2 windows, 110 packets", "level  entered  windows", "busy         1"):
        if wanted not in text:
            lab.fail("the timeline lacks %r:\n%s" % (wanted, text))
    if "  window 2  " in text:
        lab.fail("the timeline has windows:\n" + text)


def mistakes():
    one = os.path.join(lab.PCAPS, "http_get.pcap")
    for args, said in ((("--until", "soon"), "like --until 90s"), (("--pps", "0"), "like --pps 500"),
                       (("--pps", "5kB/s"), "like --pps 500"), (("/nonexistent.pcap",), "no such file")):
        _, errors = lab.perilune("replay", *COUNTER, one, *args, status=2)
        if said not in errors.decode():
            lab.fail("replay %s says %r" % (" ".join(args), errors))


in_a_row()
until()
levels()
mistakes()
lab.done("captures in a row, ends, paces, levels")
