# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
"""perilune test: tests that pass, tests that fail and why, files that are wrong."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import lab  # noqa: E402

# What the tests are of: a flood of UDP, in the first packet of every 5 ms, to one of two addresses.
POLICY = """
local many = option "many" { default = "50/s" }
local to = flows "to" { key = "src" }
return policy "many" {
  attach = { hook = "xdp" }, window = "1s", always = { counter "all" {} },
  levels = { level "calm" {}, level "busy" { to, window = "100ms" } },
  sets = { set "senders" { of = "src", max = 2000 } },
  rules = {
    rule "many" { when = rate("all.packets"):above(many), clear = rate("all.packets"):below(many):lasting "1s", hold = "busy" },
    rule "who" { per = "to.src", when = rate("to.packets"):above "1/s", clear = rate("to.packets"):below("1/s"):lasting "1s",
      act = { add "senders", log } },
  },
}
"""
TESTS = """
return tests "many.lua" {
  test "found and left" {
    traffic = { pcap "quiet.pcap", pcap("flood.pcap", { at = "5s" }) },
    expect = {
      only { "calm", "busy" }, level "calm", level("busy", { after = "5s", by = "6s", rule = "many" }), level("calm", { by = "9s" }),
      rule("many", { times = 1 }), members("senders", { exactly = { "10.0.0.1" } }), act("log", { key = "10.0.0.1" }),
    },
  },
  test "at a tenth of its rate" {
    traffic = pcap("flood.pcap", { speed = 0.1, at = "2s" }), expect = only "calm",
  },
  test "at a tenth of its rate, with half the threshold" {
    set = { many = "15/s" }, traffic = pcap("flood.pcap", { speed = 0.1, at = "2s" }), expect = level("busy", { by = "4s" }),
  },
  test "from many" {
    traffic = pcap("flood.pcap", { src = { "198.18.0.0/16", 100 }, pps = "1k/s", loop = true, count = 5000, as = "f" }),
    expect = { level("busy", { within = { 1000, "f" } }), members("senders", { at_least = 100, at_most = 100, includes = { "198.18.0.99" } }) },
  },
  test "quiet" { traffic = pcap "quiet.pcap", lasting = "60s", expect = only "calm" },
}
"""
FAILING = """
return tests "many.lua" {
  test "passes" { traffic = pcap "quiet.pcap", expect = only "calm" },
  test "fails" {
    traffic = pcap "flood.pcap",
    expect = { only "calm",
      level("busy", { by = "0.5s" }) },
  },
}
"""


def frames(count, gap):
    packet = lab.ethernet(0x800, lab.ipv4("10.0.0.1", "10.0.0.2", 17, lab.udp(1, 2, b"x" * 40)))
    return [(lab.NS * 1500000000 + int(i * gap * lab.NS), packet) for i in range(count)]


def passing():
    lab.write("many.lua", POLICY.encode())
    lab.write_pcap("quiet.pcap", frames(10, 0.3))
    lab.write_pcap("flood.pcap", frames(400, 0.005))
    path = lab.write("many_test.lua", TESTS.encode())
    out = lab.perilune("test", path)[0].decode()
    if "5 tests, all as expected" not in out or "FAILED" in out or out.count("  ok  ") != 5:
        lab.fail("tests that should pass:\n" + out)
    found = lab.read_events(lab.perilune("test", path, "--json")[0], "test --json")
    lab.equal([("test", True)] * 5, [(e["event"], e["passed"]) for e in found[:-1]], "events of the tests")
    lab.equal(("tests", 5, 0), (found[-1]["event"], found[-1]["passed"], found[-1]["failed"]), "the last event")
    lab.equal([410, 400, 400, 5000, 10], [e["packets"] for e in found[:-1]], "packets of the tests")
    out = lab.perilune("test", path, "--match", "tenth", "--timeline")[0].decode()
    if "2 tests, all" not in out or "calm → busy" not in out:
        lab.fail("two of the tests, with their timeline:\n" + out)
    lab.perilune("test", path, "--match", "nothing of the kind", status=2)


def failing():
    path = lab.write("failing_test.lua", FAILING.encode())
    out = lab.perilune("test", path, status=1)[0].decode()
    for wanted in ("  ok      passes", "  FAILED  fails", 'failing_test.lua:6: expected only "calm"', "but busy was entered at 1 s: many: rate all.packets 200/s",
                   'failing_test.lua:7: expected level("busy", { by = "0.5s" })', "but busy was entered at 1 s, 0.5 s after it should have",
                   "what happened:", "calm → busy", "2 tests, 1 failed"):
        if wanted not in out:
            lab.fail("what failed lacks %r:\n%s" % (wanted, out))
    found = lab.read_events(lab.perilune("test", path, "--json", status=1)[0], "test --json")
    lab.equal([6, 7], [f["line"] for f in found[1]["failures"]], "lines of the failures")
    lab.equal((1, 1), (found[-1]["passed"], found[-1]["failed"]), "counts")
    if not found[1]["timeline"] or "timeline" in found[0]:
        lab.fail("timelines: %s" % json.dumps(found))


def mistakes():
    def wrong(text, said, status=2):
        path = lab.write("wrong_test.lua", text.encode())
        errors = lab.perilune("test", path, status=status)[1].decode()
        if said not in errors or not errors.startswith("perilune: "):
            lab.fail("%s\nsays %r, not %r" % (text, errors, said))

    one = 'return tests "%s" { test "t" { traffic = pcap "%s", expect = %s } }'
    wrong(one % ("absent.lua", "quiet.pcap", 'only "calm"'), "absent.lua")
    wrong(one % ("many.lua", "absent.pcap", 'only "calm"'), "wrong_test.lua:1: %s/absent.pcap: no such file" % lab.OUT)
    wrong(one % ("many.lua", "quiet.pcap", 'only "clam"'), 'wrong_test.lua:1: only "clam": %s/many.lua has no level "clam" (did you mean "calm"?)' % lab.OUT)
    wrong(one % ("many.lua", "quiet.pcap", 'only "calm", set = { mny = 5 }'), 'no option "mny" (did you mean "many"?')
    wrong("while true do end", "did not finish loading within 1s")
    wrong('os.execute "true"', "os is not available")
    errors = lab.perilune("check", lab.write("tests.lua", TESTS.encode()), status=2)[1].decode()
    if "tests.lua:2: tests is a word of tests, not of policies (perilune test FILE runs them)" not in errors:
        lab.fail("checking tests says %r" % errors)
    errors = lab.perilune("test", lab.write("p.lua", POLICY.encode()), status=2)[1].decode()
    if "unknown name" not in errors:
        lab.fail("testing a policy says %r" % errors)


passing()
failing()
mistakes()
lab.done("tests that pass, fail, and are wrong")
