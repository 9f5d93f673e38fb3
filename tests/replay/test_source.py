# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Own code is a probe like any other: on captures of many kinds its rows are what tshark reads, whether the code is a file or in the policy,
sampled, filtered, in a map of one row, beside templates and twice in one program; and what is wrong with it is told at its own
line."""
import os
import sys
from collections import Counter

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402
import tshark  # noqa: E402

CODE = """#include "helper.h"
struct NAME(key) {
	struct ip_addr src;
	__u8 ttl;
	__u8 pad[3];
};
struct NAME(value) {
	__u64 packets;
	__u64 bytes;
	__u64 small; /* packets below KNOB_least octets */
};
WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);

static __always_inline int NAME(on_packet)(struct packet *p)
{
	struct NAME(key) key = {.src = p->src, .ttl = p->ttl};
	struct NAME(value) fresh = {}, *row;

	if (p->parsed != PARSED)
		return 0;
	row = half__row(&NAME(rows), p->half, &key, &fresh);
	if (!row) {
		row = half__value(&NAME(other), p->half, 1, 0);
		if (row)
			count__own(row->packets, weighted(p, p->segments));
		return 0;
	}
	count__shared(row->packets, weighted(p, p->segments));
	count__shared(row->bytes, weighted(p, packet__bytes(p)));
	if (is_small(packet__bytes(p), KNOB_least))
		count__shared(row->small, weighted(p, p->segments));
	return 0;
}
"""
HELPER = """#ifndef HELPER_H
#define HELPER_H
static __always_inline bool is_small(__u64 octets, __u64 least)
{
	return octets < least;
}
#endif
"""
LEAST = 100
CAPTURES = ("wikipedia.pcap", "communityid_ipv6.pcap", "q-in-q.pcap", "pppoe.pcap", "tunnels_6in4.pcap", "ipv6-hbh-routing0.pcap",
            "mixed-vlan-mpls.pcap", "tcp_reassembly.pcap", "dns53.pcap")
BODY = 'knobs = { least = "100B" }, needs = { "addresses", "ip" }'
POLICY = 'return policy "own" { attach = { iface = "lo", hook = "xdp" }, window = "24h",\nalways = { %s },\n%s }\n'


def policy(name, probes, more=""):
    return lab.write(name + ".lua", (POLICY % (probes, more)).encode())


def own(name, more=""):
    return 'source "%s" { file = "own.bpf.c", %s %s }' % (name, BODY, more)


def sums(events, probe, fields=("packets", "bytes", "small")):
    found = {}
    for event in lab.of(events, "records", probe=probe):
        keys = [(row["src"], row["ttl"]) for row in event["rows"]]
        lab.equal(len(keys), len(set(keys)), "%s: rows of one key" % probe)
        for key, row in zip(keys, event["rows"]):
            was = found.get(key, (0,) * len(fields))
            found[key] = tuple(n + row[field] for n, field in zip(was, fields))
    return found


def expected(packets, want=lambda one: True):
    found = {}
    for one in packets:
        if want(one):
            was = found.get((one["src"], one["ttl"]), (0, 0, 0))
            found[(one["src"], one["ttl"])] = (was[0] + 1, was[1] + one["bytes"], was[2] + (one["bytes"] < LEAST))
    return found


def captures():
    inline = CODE.replace("%", "%%")
    both = policy("both", own("hops") + ",\n" + own("again") + ', counter "all" {}, flows "from" { key = "src" }')
    within = policy("within", 'source "hops" {\n code = [[\n%s]], %s }' % (inline, BODY))
    rows = 0
    for name in CAPTURES:
        path = os.path.join(lab.PCAPS, name)
        packets, frames, _ = tshark.read(path)
        events = lab.replay(path, both)
        want = expected(packets)
        for probe in ("hops", "again"):
            lab.equal(want, sums(events, probe), "%s: rows of %s" % (name, probe))
        if name in CAPTURES[:2]:
            lab.equal(want, sums(lab.replay(path, within), "hops"), "%s: code in the policy" % name)
        lab.equal(frames, lab.of(events, "summary")[0]["packets"], name + ": packets")
        rows += len(want)
    return rows


def settings(path):
    packets, _, _ = tshark.read(path)
    got = sums(lab.replay(path, policy("filter", own("hops", ', filter = "udp"'))), "hops")
    lab.equal(expected(packets, lambda one: one["proto"] == 17), got, "a filter")
    events = lab.replay(path, policy("one", own("hops", ", entries = 1")))
    lost = sum(e["loss"]["map_full"] for e in lab.of(events, "records"))
    lab.equal(len(packets), lost + sum(r[0] for r in sums(events, "hops").values()), "rows + loss in a map of one row")
    if not lost:
        lab.fail("a map of one row lost nothing")
    got = sums(lab.replay(path, policy("thin", own("hops", ", sample = 10"))), "hops")
    rate = sum(row[0] for row in got.values())
    if not len(packets) / 2 < rate < len(packets) * 2:
        lab.fail("one packet in ten stands for %d of %d packets" % (rate, len(packets)))
    # A rule for every key, a measure of the key, a condition on rows.
    many = Counter(src for src, _ in expected(packets))
    events = lab.replay(path, policy("rules", own("hops"), """rules = {
        rule "many" { per = "hops.src", when = distinct("hops.ttl"):above(0), act = { log } },
        rule "much" { when = sum("hops.bytes", "ttl == 64"):above "1B" },
    }"""))
    lab.equal(set(many), {r["key"] for r in lab.of(events, "rule", rule="many")}, "a rule for each source")
    lab.equal(1, len(lab.of(events, "rule", rule="much")), "a condition on rows")


BROKEN = [
    # what, (text, in its place), more of the body, what is said: regular expression
    ("syntax", ("fresh = {}, *row;", "fresh = {}, *row"), "", r"broken.bpf.c:\d+: expected ';'"),
    ("unused", ("return 0;\n}", "int x;\n return 0;\n}"), "", r"broken.bpf.c:\d+: unused variable 'x'"),
    ("function", ("NAME(on_packet)", "NAME(on_pocket)"), "", r"broken.lua:2: source \"own\": \S*broken.bpf.c has no function NAME\(on_packet\)"),
    ("map", ("", ""), ', windowed = { "rowz" }', r'broken.lua:2: .*the code has no map NAME\(rowz\) \(did you mean "rows"'),
    ("prefix", ("NAME(other)", "other"), ', windowed = { "rows", other = "other" }', r"the map other lacks the probe's name"),
    ("other", ("NAME(other)", "NAME(rest)"), "", r"nothing counts the packets that find no room"),
    ("padding", ("	__u8 pad[3];\n", ""), "", r"has 3 bytes of padding"),
    ("plain", ("WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));",
               "struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, struct NAME(key)); __type(value, struct NAME(value));"
               "__uint(max_entries, 10); } NAME(rows) SEC(\".maps\");"), "", r"NAME\(rows\) is not windowed: it is a hash"),
    ("forgotten", ("WINDOWED_ARRAY", "WINDOWED_HASH(NAME(more), struct NAME(key), struct NAME(value));\nWINDOWED_ARRAY"), "",
     r"NAME\(more\) is windowed and nothing reads it"),
    ("packets", ("__u64 packets;", "__u64 many;"), "", r"has no `packets`"),
    ("big", ("__u64 bytes;", "__u64 bytes; char more[40000];"), "", r"stack limit is exceeded"),
    ("program", ("static __always_inline int NAME", "SEC(\"xdp\") int mine(struct xdp_md *c) { return !c; }\nstatic __always_inline int NAME"),
     "", r"a program of its own, mine in SEC\(\"xdp\"\)"),
    ("verifier", ("if (!row) {", "if (0) {"), "", r"broken.bpf.c:\d+: .*the verifier refused"),
    ("include", ('"helper.h"', '"../helper.h"'), "", r'broken.bpf.c:1: "../helper.h" is not beside the policy'),
    ("absent", ('"helper.h"', '"hulper.h"'), "", r"broken.bpf.c:1: .*hulper.h: No such file"),
    ("system", ('"helper.h"', "</etc/passwd>"), "", r"broken.bpf.c:1: </etc/passwd> leads out"),
    ("knob", ("", ""), ", knobs = { least = -1 }", r"knobs: least: -1 is no whole number"),
    ("needs", ("", ""), ', needs = "ttl"', r'needs: unknown value "ttl"'),
    ("word", ("", ""), ", windowd = {}", r'has no key "windowd" \(did you mean "windowed"'),
    ("fields", ("", ""), ', fields = { byts = "bytes" }', r'no field byts \(did you mean "bytes"'),
    ("sample", ("weighted(p, p->segments)", "1"), ", sample = 4", r"sample: the code counts every packet as one"),
]


def broken():
    import re
    for what, (text, instead), more, said in BROKEN:
        code = CODE.replace(text, instead) if text else CODE
        if what == "packets":
            code = code.replace("row->packets", "row->many")
        if what == "sample":
            code = re.sub(r"weighted\(p, ([^;]*)\);", r"\1;", code)
        lab.write("broken.bpf.c", code.encode())
        body = 'source "own" { file = "broken.bpf.c", %s %s }' % (BODY if "knobs" not in more and "needs" not in more else
                                                                'knobs = { least = 100 }' if "knobs" not in more else "windowed = 'rows'", more)
        path = policy("broken", body)
        _, errors = lab.perilune("check", "--no-cost", path, status=2)
        if not re.search(said, errors.decode()):
            lab.fail("broken code, %s: expected %s, got %s" % (what, said, errors.decode()[:600]))
    for file, said in (("../own.bpf.c", "is not beside the policy"), ("/etc/passwd", "is not beside the policy"), ("none.c", "No such file")):
        path = policy("broken", 'source "own" { file = "%s" }' % file)
        _, errors = lab.perilune("check", "--no-cost", path, status=2)
        if said not in errors.decode():
            lab.fail("the file %s: %s" % (file, errors.decode()))
    lab.write("broken.bpf.c", CODE.replace("__u64 bytes;", "__u64 octets;").replace("row->bytes", "row->octets").encode())
    path = policy("broken", 'source "own" { file = "broken.bpf.c", %s }' % BODY, 'rules = { rule "r" { when = rate("own.bytes"):above "1kB/s" } }')
    _, errors = lab.perilune("check", "--no-cost", path, status=2)
    if 'broken.lua:3: probe "own" has no field "bytes"' not in errors.decode():
        lab.fail("a field that is not in the code: %s" % errors.decode())


def main():
    lab.write("own.bpf.c", CODE.encode())
    lab.write("helper.h", HELPER.encode())
    rows = captures()
    settings(os.path.join(lab.PCAPS, "wikipedia.pcap"))
    broken()
    lab.done("%d rows as tshark has them, %d mistakes told where they are" % (rows, len(BROKEN) + 4))


main()
