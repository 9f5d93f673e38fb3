# SPDX-License-Identifier: Apache-2.0
"""The figures that rules see, against the same computed here from the records of the same window."""
import json
import math
import os
import sys
from fractions import Fraction

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

WHOLE = {
    "min flows.bytes": lambda rows: min((r["bytes"] for r in rows), default=None),
    "max flows.bytes": lambda rows: max((r["bytes"] for r in rows), default=0),
    "mean flows.bytes": lambda rows: sum(r["bytes"] for r in rows) / len(rows) if rows else 0,
    "sum flows.packets": lambda rows: sum(r["packets"] for r in rows),
    "count flows": len,
    "distinct flows.dport": lambda rows: len({r["dport"] for r in rows}),
    "distinct flows.dst": lambda rows: len({r["dst"] for r in rows}),
    "quantile flows.bytes 0.5": lambda rows: rank([r["bytes"] for r in rows], Fraction(1, 2)),
    "quantile flows.packets 0.99": lambda rows: rank([r["packets"] for r in rows], Fraction(99, 100)),
    "quantile flows.sizes 0.9": lambda rows: histogram([sum(c) for c in zip(*(r["sizes"] for r in rows))], 64, Fraction(9, 10)),
    "entropy flows.packets": lambda rows: entropy([r["packets"] for r in rows]),
    "entropy flows.bytes": lambda rows: entropy([r["bytes"] for r in rows]),
    "entropy flows.dport": lambda rows: entropy(by(rows, "dport").values()),
}
WHERE = {
    "proto == 6 and bytes > 100": lambda r: r["proto"] in (6, "tcp") and r["bytes"] > 100,
    "dport < 1024 or sport < 1024": lambda r: r["dport"] < 1024 or r["sport"] < 1024,
    "not (packets >= 2)": lambda r: r["packets"] < 2,
    "src == dst or bytes % 2 == 1": lambda r: r["src"] == r["dst"] or r["bytes"] % 2 == 1,
}


def rank(values, q):
    """The q-quantile by nearest rank, in exact arithmetic."""
    if not values:
        return 0
    return sorted(values)[max(1, math.ceil(q * len(values))) - 1]


def histogram(counts, first, q):
    """By linear interpolation between the ends of a class, in exact arithmetic."""
    total, before = sum(counts), 0
    if not total:
        return 0
    for k, count in enumerate(counts):
        low = 0 if k == 0 else first * 2 ** (k - 1)
        if count and before + count >= q * total:
            if k == len(counts) - 1:
                return low
            return float(low + (first * 2 ** k - low) * (q * total - before) / count)
        before += count
    return None


def by(rows, field):
    weights = {}
    for row in rows:
        weights[row[field]] = weights.get(row[field], 0) + row["packets"]
    return weights


def entropy(weights):
    """From the definition, with probabilities."""
    weights = [w for w in weights if w > 0]
    if not weights:
        return None
    if len(weights) == 1:
        return 0
    total = math.fsum(weights)
    return -math.fsum(w / total * math.log2(w / total) for w in weights) / math.log2(len(weights))


def lua(name):
    """A measure's text as it is written in a policy."""
    kind, rest = name.split(" ", 1)
    rest, _, where = rest.partition(" where ")
    path, _, q = rest.partition(" ")
    return '%s(%s)' % (kind, ", ".join(['"%s"' % path] + ([q] if q else []) + (['"%s"' % where] if where else [])))


def measures():
    """Name → (function of rows)."""
    found = dict(WHOLE)
    for name, fn in WHOLE.items():
        for where, meets in WHERE.items():
            found[name + " where " + where] = lambda rows, fn=fn, meets=meets: fn([r for r in rows if meets(r)])
    return found


def policy(names, per):
    """One rule for each, since a rule's values are told when it fires: it does, whatever the figure is."""
    rules = []
    for i, name in enumerate(names):
        rules.append('rule "m%d" { %s when = any { (%s):above(%s * 2), count("flows"):above(-1) } },'
                     % (i, 'per = "flows.%s",' % per if per else "", lua(name), lua(name)))
    return ('return policy "m" { attach = { hook = "xdp" }, window = "1h", '
            'always = { flows "flows" { features = { "size_hist" } } }, rules = { %s } }' % "\n".join(rules)).encode()


def close(expected, actual):
    if expected is None or actual is None:
        return expected is actual
    return abs(expected - actual) <= 1e-8 * abs(expected) + 1e-6  # JSON has nine digits


def compare(capture, names, fns, path, per):
    out, _ = lab.perilune("replay", path, os.path.join(lab.PCAPS, capture), "--until", "1h", "--json")
    lab.read_events(b"".join(line + b"\n" for line in out.split(b"\n")[:20] if line), capture)  # the schema, of some
    events = [json.loads(line) for line in out.split(b"\n") if line]
    problems = [e for e in events if e["event"] == "error"]
    if problems:
        lab.fail("%s: %r" % (capture, problems[0]))
    rows = [e["rows"] for e in events if e["event"] == "records" and e["seq"] == 1]
    rows = rows[0] if rows else []
    told = {}
    for e in events:
        if e["event"] == "rule" and e["seq"] == 1 and e["state"] == "firing":
            told[(int(e["rule"][1:]), e.get("key"))] = e["values"]
    groups = {None: rows}
    if per:
        groups = {}
        for row in rows:
            groups.setdefault(row[per], []).append(row)
    lab.equal(len(names) * len(groups), len(told), "%s: rules that told their values" % capture)
    for i, name in enumerate(names):
        for key, members in groups.items():
            expected, actual = fns[name](members), told[(i, key)][name]
            if not close(expected, actual):
                lab.fail("%s, %s of %s: expected %r, got %r" % (capture, name, key or "all", expected, actual))
    return len(names) * len(groups)



SEVERAL = ("wikipedia.pcap", "http_bro.org.pcap", "http_pipelined-requests.pcap", "tls_tls13_wolfssl.pcap")
SPAN = 5  # seconds, of several windows together; the rules fire once they have lasted 3
OVER = {name: WHOLE[name] for name in WHOLE if name.split()[0] in ("quantile", "distinct", "min", "max", "mean", "sum", "count")}
OVER["entropy flows.dport"] = WHOLE["entropy flows.dport"]
for amount in ("packets", "bytes"):
    OVER["entropy flows." + amount] = lambda rows, amount=amount: entropy(same_rows(rows, amount).values())
OVER["quantile flows.bytes 0.9 where packets >= 2"] = lambda rows: rank([r["bytes"] for r in rows if r["packets"] >= 2], Fraction(9, 10))
OVER["entropy flows.bytes where packets >= 2"] = lambda rows: entropy(same_rows([r for r in rows if r["packets"] >= 2], "bytes").values())


def same_rows(rows, amount):
    """A row of a later window is the same if its key is."""
    weights = {}
    for row in rows:
        key = tuple(row[field] for field in lab.KEY)
        weights[key] = weights.get(key, 0) + row[amount]
    return weights


def policy_over(names, per):
    rules = []
    for i, name in enumerate(names):
        rules.append('rule "m%d" { %s when = any { (%s):over("%ds"):above((%s) * 2), count("flows"):above(-1) }:lasting "3s" },'
                     % (i, 'per = "flows.%s",' % per if per else "", lua(name), SPAN, lua(name)))
    return ('return policy "m" { attach = { hook = "xdp" }, window = "1s", '
            'always = { flows "flows" { features = { "size_hist" } } }, rules = { %s } }' % "\n".join(rules)).encode()


def compare_over(capture, names, path, per):
    """The figures of several windows against the same of their rows. Returns how many there were."""
    out, _ = lab.perilune("replay", path, os.path.join(lab.PCAPS, capture), "--windows", "--json", "--audit", path + ".log")
    events = [json.loads(line) for line in out.split(b"\n") if line]
    ends, rows_of, told = {}, {}, {}
    for e in events:
        if e["event"] == "window":
            ends[e["seq"]] = (e["start"], e["end"])
        elif e["event"] == "records":
            rows_of[e["seq"]] = e["rows"]
        elif e["event"] == "error":
            lab.fail("%s: %r" % (capture, e))
    for e in events:
        if e["event"] != "rule" or e["state"] != "firing":
            continue
        last = lab.ns_of(ends[e["seq"]][1])
        rows = [r for seq in ends if seq <= e["seq"] and lab.ns_of(ends[seq][0]) >= last - SPAN * lab.NS - 1000 for r in rows_of.get(seq, [])
                if not per or r[per] == e["key"]]
        name = names[int(e["rule"][1:])]
        told[name] = told.get(name, 0) + 1
        expected, actual = OVER[name](rows), e["values"]["%s over %ds" % (name, SPAN)]
        if not close(expected, actual):
            lab.fail("%s, %s over %d s of %s: expected %r, got %r" % (capture, name, SPAN, e.get("key", "all"), expected, actual))
    return told


def over_windows(captures):
    """How many figures of several windows were as computed, and are again when the audit log is evaluated."""
    names, told = list(OVER), {}
    for per in (None, "src"):
        path = lab.write("over_%s.lua" % per, policy_over(names, per))
        for capture in captures:
            for name, count in compare_over(capture, names, path, per).items():
                told[name] = told.get(name, 0) + count
            lab.perilune("explain", "--verify", path + ".log")
            os.remove(path + ".log")
    if len(told) < len(names) or min(told.values()) < 3:
        lab.fail("of several windows only %r" % told)
    return sum(told.values())


def main():
    fns, compared = measures(), 0
    names = list(fns)
    whole = lab.write("whole.lua", policy(names, None))
    keyed = lab.write("keyed.lua", policy(names, "src"))
    large = ["lucid_CIC-DDoS-2019-SynFlood.pcap", "wikipedia.pcap"]
    for capture in lab.captures()[::5] + large:
        compared += compare(capture, names, fns, whole, None)
    for capture in lab.captures()[::12] + large:
        compared += compare(capture, names, fns, keyed, "src")
    if compared < 2000:
        lab.fail("only %d figures compared" % compared)
    lab.done("%d figures as computed from the records, %d of several windows" % (compared, over_windows(SEVERAL)))


main()
