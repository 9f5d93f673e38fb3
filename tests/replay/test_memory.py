# SPDX-License-Identifier: Apache-2.0
"""What functions remember: w.state comes back from the child, is bounded and outlives a run; w:ago has past figures."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

HEAD = 'attach = { hook = "xdp", iface = "lo" }, window = "1s", always = { counter "all" {}, flows "to" { key = "dst" } },'
STATE = os.path.join(lab.OUT, "state")


def frames(rates):
    packet = lab.ethernet(0x800, lab.ipv4("10.0.0.1", "10.0.0.2", 17, lab.udp(1, 2, b"x" * 40)))
    return [(int((1000 + second + i / rate) * lab.NS), packet) for second, rate in enumerate(rates) for i in range(rate)]


def replay(pcap, body):
    """(window, what was said of it) of every rule that fires and every error."""
    out, _ = lab.perilune("replay", lab.write("memory.lua", ('return policy "memory" { %s %s }' % (HEAD, body)).encode()),
                          pcap, "--json")
    said, seq = [], 0
    for event in lab.read_events(out, "memory"):
        if event["event"] == "window":
            seq = event["seq"]
        elif event["event"] == "rule" and event["state"] == "firing":
            said.append((seq, event["rule"]))
        elif event["event"] == "error":
            said.append((seq, re.sub(r"^\S+:\d+: ", "", event["message"].split("\n")[0])))
    return said


def remembered(pcap):
    """A rule for every window: its function sees what that of an earlier rule has written, and the windows before."""
    said = replay(pcap, """state = { n = 0, sums = {}, text = "", flag = false }, history = 3, rules = {
      rule "writes" { when = function(w)
        w.state.n = w.state.n + 1
        w.state.sums[w.state.n] = w:sum "all.packets"
        return false
      end },
      rule "reads" { when = function(w) return w.state.n == 4 and w.state.sums[2] == 7 and w.state.sums[4] == 11 end },
      rule "ago" { when = function(w)
        local last, before = w:ago(1), w:ago(3)
        return before ~= nil and before.seq == w.seq - 3 and before:sum "all.packets" == 5 and last:rate "to.packets" == 9
          and before:count "to" == 1 and before.level == "base"
      end },
      rule "none" { when = function(w) return w.seq == 1 and w:ago(1) == nil end } } """)
    lab.equal([(1, "none"), (4, "reads"), (4, "ago")], said, "what functions remember")


def refused(pcap):
    for code, expected in (
            ("w.state.m = 1", 'the policy declares no state "m" (did you mean "n"?)'),
            ("return w.state.x == 1", 'the policy declares no state "x" (did you mean "n"?)'),
            ("w.state.n = {}", 'the state "n" is a number and cannot become a table'),
            ("w.state.n = nil", 'the state "n" is a number and cannot become nil'),
            ("w.state.t.x = ('x'):rep(20000)", "the state cannot be kept: it takes more than 16384 bytes"),
            ("w.state.t.f = print", "the state cannot be kept: it holds a function"),
            ("w:ago(17)", "ago(17): 16 windows are kept (write history = 17 in the policy)"),
            ("w:ago(0)", "ago: how many windows? 0 is no count")):
        said = replay(pcap, 'state = { n = 1, t = {} }, rules = { rule "bad" { when = function(w) %s end },'
                            ' rule "good" { when = function(w) return w.state.n == 1 and next(w.state.t) == nil end } }' % code)
        lab.equal([(1, expected), (1, "good")], said, code)


def outlives():
    """Two runs, in a network namespace of their own."""
    policy = lab.write("counts.lua", ('return policy "counts" { %s state = { n = 0 }, rules = { rule "r" {'
                                      ' when = function(w) w.state.n = w.state.n + 1 return w.state.n == 3 end } } }'
                                      % HEAD).encode())
    fired = []
    for _ in range(2):
        done = subprocess.run(["unshare", "-n", "sh", "-c", 'ip link set lo up && exec "$0" run "$1" --for 2500ms --json',
                               lab.PERILUNE, policy], capture_output=True, check=False,
                              env=dict(os.environ, PERILUNE_STATE=STATE))
        if done.returncode:
            lab.fail(done.stderr.decode())
        fired.append([e["rule"] for e in lab.read_events(done.stdout, "run") if e["event"] == "rule" and e["state"] == "firing"])
    lab.equal([[], ["r"]], fired, "rules that fire in the first and in the second run")


def main():
    pcap = lab.write_pcap("rates.pcap", frames([5, 7, 9, 11]))
    remembered(pcap)
    refused(pcap)
    outlives()
    lab.done("state and past windows as functions left them")


main()
