# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Switching a feature on changes no other field, of any template: all captures, one behind the other, through a probe without features
and one with each. What a feature is there to change is said here."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.environ["PERILUNE_SOURCE"], "tests", "e2e"))
import lab  # noqa: E402
import test_matrix as matrix  # noqa: E402

# Those that make other rows of the same packets, or see packets that are not seen without: by what they are told apart from a fault is in
# the tests of their templates.
OTHER_ROWS = {"flows": ("biflow", "defrag", "tunnel"), "http": ("pair", "tunnel"), "tls": ("tunnel",), "payload": ("tunnel",), "dns": ("tcp",)}
FRAMES = 1500  # of each capture, at most


def traffic():
    """Frames of all captures, each behind the one before."""
    frames, now = [], lab.NS
    for name in lab.captures():
        try:
            one = lab.read_pcap(os.path.join(lab.PCAPS, name))[:FRAMES]
        except KeyError:  # pcapng
            continue
        begin = one[0][0]
        frames += [(now + max(0, time - begin), *rest) for time, *rest in one]
        now = frames[-1][0] + lab.NS
    return frames


def added(template, features):
    return {field for one in matrix.listed(template["features"]) if one["name"] in features for field in matrix.listed(one["fields"])}


def rows(events, probe, without):
    """What its records say, but for these fields."""
    found = []
    for event in lab.of(events, "records", probe=probe):
        found += [json.dumps([event["seq"], {k: v for k, v in row.items() if k not in without}], sort_keys=True) for row in event["rows"]]
        found.append(json.dumps([event["seq"], event["loss"]], sort_keys=True))
    return sorted(found)


def check(template, path):
    sets = [(one["name"],) + tuple(matrix.listed(one.get("requires"))) for one in matrix.listed(template["features"])
            if one["name"] not in OTHER_ROWS.get(template["name"], ())]
    probes = ['%s "p%d" { entries = 100000, features = { %s } }' % (template["name"], i, matrix.quoted(names))
              for i, names in enumerate([()] + sets)]
    if template["name"] == "counter":
        probes = [probe.replace("entries = 100000, ", "") for probe in probes]
    text = 'return policy "p" { attach = { iface = "lo", hook = "xdp" }, window = "10s", always = {\n%s\n} }\n' % ",\n".join(probes)
    events = lab.read_events(lab.perilune("replay", lab.write("p.lua", text.encode()), path, "--json")[0], template["name"])
    seen = 0
    for i, names in enumerate(sets, 1):
        new = added(template, names)
        alone, on = rows(events, "p0", new), rows(events, "p%d" % i, new)
        for without, with_it in zip(alone, on):
            lab.equal(without, with_it, "%s with %s" % (template["name"], ", ".join(names)))
        lab.equal(len(alone), len(on), "%s with %s: rows" % (template["name"], ", ".join(names)))
        seen += len(on)
    return len(sets), seen


def main():
    frames = traffic()
    path = lab.write_pcap("all.pcap", frames)
    counts = [check(template, path) for template in matrix.manifests()]
    if sum(rows for _, rows in counts) < 10000:
        lab.fail("only %r" % counts)
    lab.done("%d features change nothing else, on %d frames" % (sum(features for features, _ in counts), len(frames)))


main()
