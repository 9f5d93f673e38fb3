# SPDX-License-Identifier: Apache-2.0
"""A probe that samples looks at one packet in so many, always the same ones in a replay; its records say so, and its measures stand for
all packets."""
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

ONE_IN = 16
FLOOD = os.path.join(lab.PCAPS, "lucid_CIC-DDoS-2019-SynFlood.pcap")
POLICY = """return policy "sampled" { attach = { iface = "lo", hook = "xdp" }, window = "24h",
  always = { flows "some" { key = "src", sample = %d }, flows "all" { key = "src" }, counter "one" { sample = 1 } },
  rules = { rule "r" { when = sum("some.packets"):above(%d), clear = sum("some.packets"):below(1), act = { log "seen" } } },
}
"""


def packets(events, probe):
    records = lab.of(events, "records", probe=probe)
    return sum(row["packets"] for e in records for row in e["rows"]), {e["sample_rate"] for e in records}


def main():
    total, _ = packets(lab.replay(FLOOD, "--template", "flows", "--set", "window=24h"), "flows")
    # The rule's threshold lies far above what is seen and a little below what that stands for.
    policy = lab.write("sampled.lua", (POLICY % (ONE_IN, total // 2)).encode())
    first, second = lab.replay(FLOOD, policy), lab.replay(FLOOD, policy)
    some, rates = packets(first, "some")
    lab.equal({ONE_IN}, rates, "sample_rate")
    lab.equal((total, {1}), packets(first, "all"), "the probe beside it")
    lab.equal(packets(second, "some")[0], some, "the same packets each time")
    if not 0.95 < some * ONE_IN / total < 1.05:
        lab.fail("%d of %d packets are not one in %d" % (some, total, ONE_IN))
    if not any("seen" in str(event) for event in first):
        lab.fail("a sum of a sampled probe does not stand for all packets")
    for wrong, why in (("sample = 0", b"sample"), ('sample = "often"', b"sample"), ("sample = 2000000", b"sample")):
        bad = lab.write("bad.lua", ('return policy "p" { attach = { iface = "lo" }, always = { flows "f" { %s } } }\n' % wrong).encode())
        _, err = lab.perilune("check", bad, status=2)
        if why not in err:
            lab.fail("%s: %s" % (wrong, err.decode()))
    lab.done("%d of %d packets were looked at, one in %d" % (some, total, ONE_IN))


main()
