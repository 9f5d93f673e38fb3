# SPDX-License-Identifier: Apache-2.0
"""For test_templates.sh: make DIR writes all.pcap, the frames of all captures that are whole, and policies of a few templates each;
compare REPLAY LIVE FRAMES says what differs between two runs of one policy, but for times."""
import json
import os
import sys

sys.path.insert(0, os.path.join(os.environ["PERILUNE_SOURCE"], "tests", "replay"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import test_matrix as matrix  # noqa: E402

TOGETHER = 3  # templates in a policy
MOST = 400  # frames of each capture
APART = 50000  # ns between frames, about as they are sent
POLICY = """return policy "%s" { attach = { iface = "vb", hook = option "hook" { default = "xdp" } }, window = "1h", always = {
%s
} }
"""
# What time has a part in. Whether a segment was reordered or sent again is told by time; that it was one of them is not.
TIMES = {"first", "last", "start", "time", "duration", "gaps", "latencies", "latency_max", "handshakes", "handshake_max", "server_rtts",
         "server_rtt_max", "client_rtts", "client_rtt_max", "wait", "waits", "wait_max"}


def make(directory):
    frames = []
    for name in lab.captures():
        try:
            frames += [data for _, data, wire in lab.read_pcap(os.path.join(lab.PCAPS, name))[:MOST] if len(data) == wire and wire >= 60]
        except KeyError:  # pcapng
            continue
    with open(os.path.join(directory, "all.pcap"), "wb") as file:
        file.write(lab.pcap_bytes([(lab.NS + i * APART, data) for i, data in enumerate(frames)]))
    templates = matrix.manifests()
    for at in range(0, len(templates), TOGETHER):
        probes = []
        for template in templates[at:at + TOGETHER]:
            combination = max(matrix.combinations(template), key=len)
            probes.append('%s "%s_" { features = { %s } }' % (template["name"], template["name"], matrix.quoted(combination)))
        with open(os.path.join(directory, "group%d.lua" % (at // TOGETHER)), "w", encoding="ascii") as file:
            file.write(POLICY % ("group%d" % (at // TOGETHER), ",\n".join(probes)))
    print(len(frames))


def timeless(row):
    row = {k: v for k, v in row.items() if k not in TIMES and k != "ifindex"}
    if "retransmissions" in row:
        row["retransmissions"] += row.pop("out_of_order")
    return json.dumps(row, sort_keys=True)


def rows(path):
    with open(path, "rb") as file:
        events = [json.loads(line) for line in file.read().split(b"\n") if line]
    found = {}
    for event in lab.of(events, "records"):
        for row in event["rows"]:
            found.setdefault(event["probe"], []).append(timeless(row))
        found.setdefault(event["probe"] + " lost", []).append(json.dumps(event["loss"]["map_full"] + event["loss"]["limited"]))
    return {probe: sorted(of) for probe, of in found.items()}, lab.of(events, "summary")[0]


def compare(replayed, live, frames):
    (want, one), (got, other) = rows(replayed), rows(live)
    lab.equal((frames, frames), (one["packets"], other["packets"]), "frames sent")
    lab.equal(set(want), set(got), "probes")
    for probe, of in want.items():
        if probe.endswith(" lost"):
            lab.equal(sum(map(int, of)), sum(map(int, got[probe])), probe)
            continue
        missing, strange = set(of) - set(got[probe]), set(got[probe]) - set(of)
        if missing or strange or len(of) != len(got[probe]):
            lab.fail("%s: %d rows in the replay, %d live; only there: %s; only here: %s" % (
                probe, len(of), len(got[probe]), sorted(missing)[:2], sorted(strange)[:2]))
    print("  %s: %d rows alike over %d frames" % (", ".join(sorted(p for p in want if not p.endswith(" lost"))),
                                                sum(len(of) for p, of in want.items() if not p.endswith(" lost")), frames))


if sys.argv[1] == "make":
    make(sys.argv[2])
else:
    compare(sys.argv[2], sys.argv[3], int(sys.argv[4]))
