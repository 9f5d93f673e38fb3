# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Dynmon's interface: what its programs ask for, and that what Dynmon did wrong is right here.

Counts are held against the frames that were sent, and against the kernel's own.
"""
import json
import os
import re
import resource
import subprocess
import threading

from dynmon import COUNTER, HEAD, Client, attached, config, metric, path, start
from serve import Daemon, equal, fail, main, until


def possible_cpus():
    with open("/sys/devices/system/cpu/possible") as file:
        return sum(int(part.split("-")[-1]) - int(part.split("-")[0]) + 1 for part in file.read().strip().split(","))


def injects_again_and_reads_as_dynmons_programs_do(world):
    client = start(world)
    equal(404, client.ask("GET", "/dynmon/mon")[0], "a monitor that is not there")
    client.create(config(path(COUNTER, metric("packets_total", "PKT", kind="counter"))))
    equal(None, client.shown()["parent"], "the parent before it is attached")
    client.attach()
    shown = client.shown()
    equal(("mon", "TC", "vb"), (shown["name"], shown["type"], shown["parent"]), "what is shown")
    equal(COUNTER, shown["dataplane-config"]["ingress-path"]["code"], "the code")
    equal({}, shown["dataplane-config"]["egress-path"], "a path that is not set")
    world.send(100)
    answer = client.metrics()
    if not isinstance(answer.pop("_links"), dict):
        fail("the links are no object")
    equal({"ingress-metrics", "egress-metrics"}, set(answer), "the members")
    one = answer["ingress-metrics"][0]
    equal(("packets_total", [100]), (one["name"], one["value"]), "the metric")
    if not 1.6e15 < one["timestamp"] < 4e15:
        fail("the timestamp is not in microseconds: %d" % one["timestamp"])
    equal([100], client.must("GET", "/dynmon/mon/metrics/ingress-metrics/")[0]["value"], "the list")
    equal([100], client.value("packets_total"), "the bare value")
    # Injected again: counted anew, on the same interface.
    client.inject(config(path(COUNTER, metric("again_total", "PKT"))))
    world.send(7)
    equal([7], client.value("again_total"), "after another injection")
    equal(1, attached(world), "programs on the interface")
    equal(404, client.ask("GET", "/dynmon/mon/metrics/ingress-metrics/packets_total/value")[0], "a metric of before")
    # To another interface, as the injector does it.
    client.refused("POST", "/attach", {"cube": "mon", "port": "va"}, "attached to vb already")
    client.refused("POST", "/detach", {"cube": "mon", "port": "va"}, "not attached to va")
    client.must("POST", "/detach", {"cube": "mon", "port": "vb"})
    equal(0, attached(world), "programs on the interface once detached")
    client.refused("POST", "/attach", {"cube": "mon", "port": "vz"}, "there is no interface vz")
    client.attach()
    world.send(3)
    equal([10], client.value("again_total"), "attached again")
    client.must("DELETE", "/dynmon/mon")
    equal(0, attached(world), "programs on the interface in the end")
    equal([], client.must("GET", "/dynmon"), "the monitors in the end")


def values_of_cpus_are_read_where_they_are(world):
    """Each CPU's value has eight bytes to itself, whatever its size."""
    code = "BPF_PERCPU_ARRAY(A, uint32_t, 2);\nBPF_TABLE(\"percpu_hash\", uint32_t, uint16_t, H, 8);\n" + HEAD + """
  int one = 1; uint32_t key = 9; uint16_t zero = 0;
  uint32_t *a = A.lookup(&one);
  uint16_t *h = H.lookup_or_try_init(&key, &zero);
  if (a) *a += 1;
  if (h) *h += 1;
  return RX_OK;
}
"""
    client = start(world).start(config(path(code, metric("a", "A"), metric("h", "H"))))
    world.send(200)
    a, h = client.value("a"), client.value("h")
    equal([0, 1], [row["key"] for row in a], "the elements of the array")
    equal([possible_cpus()] * 2, [len(a[1]["value"]), len(h[0]["value"])], "the values of a key")
    equal(200, sum(a[1]["value"]), "the sum of all CPUs in the array")
    equal(0, sum(a[0]["value"]), "the element that nobody counts in")
    equal((9, 200), (h[0]["key"], sum(h[0]["value"])), "the sum of all CPUs in the hash")


def types_are_decoded_as_they_are_declared(world):
    code = """
enum colour { RED = 3, GREEN = 70000 };
struct value {
  uint32_t low : 3, high : 7, rest : 22;
  enum colour colour;
  uint8_t mac[6];
  uint16_t ports[2];
  int32_t below;
  uint64_t large;
  char name[8];
} __attribute__((packed));
struct key { uint8_t mac[6]; };
BPF_HASH(V, struct key, struct value, 4);
""" + HEAD + """
  struct key key = {.mac = {2, 0, 0, 0, 0, 1}};
  struct value value = {.low = 5, .high = 99, .rest = 1234567, .colour = GREEN, .mac = {0, 0x11, 0x22, 0x33, 0x44, 0x55},
    .ports = {53, 443}, .below = -7, .large = 18446744073709551615ULL, .name = "perilun"};
  V.update(&key, &value);
  return RX_OK;
}
"""
    client = start(world).start(config(path(code, metric("v", "V"))))
    world.send(1)
    text = client.ask("GET", "/dynmon/mon/metrics/ingress-metrics/v/value")[2]
    equal([{"key": {"mac": "02:00:00:00:00:01"}, "value": {
        "low": 5, "high": 99, "rest": 1234567, "colour": "GREEN", "mac": "00:11:22:33:44:55", "ports": [53, 443], "below": -7,
        "large": 18446744073709551615, "name": "perilun"}}], json.loads(text), "the values")


TWO = """
BPF_ARRAY(PKT, uint64_t, 1);
BPF_ARRAY(PKT_BYTES, uint64_t, 1);
BPF_ARRAY(KEPT, uint64_t, 1);
""" + HEAD + """
  /* PKT.lookup(&key) is not what is meant here, nor "PKT_BYTES" */
  unsigned int key = 0;
  uint64_t *packets = PKT.lookup(&key), *bytes = PKT_BYTES.lookup(&key), *kept = KEPT.lookup(&key);
  if (packets)
    __sync_fetch_and_add(packets, 1);
  if (bytes)
    __sync_fetch_and_add(bytes, md->packet_len);
  if (kept)
    __sync_fetch_and_add(kept, 1);
  return RX_OK;
}
"""
FRAME = 14 + 20 + 8 + 18  # of World.send


def two_maps_swap_and_names_stay_apart(world):
    client = start(world).start(config(path(TWO, metric("packets", "PKT", True, True), metric("bytes", "PKT_BYTES", True, True),
                                            metric("kept", "KEPT"))))
    for round_ in range(1, 6):
        world.send(10 * round_)
        values = {one["name"]: one["value"] for one in client.metrics()["ingress-metrics"]}
        equal({"packets": [10 * round_], "bytes": [10 * round_ * FRAME], "kept": [5 * round_ * (round_ + 1)]}, values,
              "round %d" % round_)
    # One asked for alone: the other's window has ended too, and nothing of it is lost.
    world.send(4)
    equal([4], client.value("packets"), "packets alone")
    world.send(5)
    equal([5], client.value("packets"), "packets alone again")
    equal([9 * FRAME], client.value("bytes"), "bytes of both")
    equal([0], client.value("packets"), "what is left")


def a_window_under_traffic_is_exact(world):
    client = start(world).start(config(path(TWO, metric("packets", "PKT", True, True), metric("bytes", "PKT_BYTES", True, True))))
    sender = threading.Thread(target=lambda: [subprocess.run(
        ["ip", "netns", "exec", world.netns, "tcpreplay", "-q", "-t", "-K", "-l", "40", "-i", "va", capture], check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for capture in [os.path.join(os.environ["PERILUNE_SOURCE"],
                                                                                         "tests/pcaps/wikipedia.pcap")]])
    before, packets, count, reads = world.received(), 0, 0, 0
    sender.start()
    while sender.is_alive() or reads < 3:
        values = {one["name"]: one["value"][0] for one in client.metrics()["ingress-metrics"]}
        packets, count, reads = packets + values["packets"], count + values["bytes"], reads + 1
        # Both of one window: no packet is in one of them only.
        if (values["packets"] == 0) != (values["bytes"] == 0):
            fail("a window has %r" % values)
    sender.join()
    values = {one["name"]: one["value"][0] for one in client.metrics()["ingress-metrics"]}
    equal(world.received() - before, packets + values["packets"], "packets of %d windows" % reads)
    if reads < 3:
        fail("there were too few reads")


BROKEN = {
    "the compiler refuses it": (COUNTER.replace("value)", "valeu)"), "ingress-path:5:", "valeu"),
    "the verifier refuses it": (COUNTER.replace("RX_OK", "*(int *)(long)ctx->data"), "the verifier refused", "invalid access to packet"),
    "it calls what is not there": (COUNTER.replace("RX_OK", "no_such_thing()"), "no_such_thing"),
    "it has no entry": ("BPF_ARRAY(PKT);", "handle_rx"),
    "it is no C": ("BPF_ARRAY(A, u64, 1)\n/*", "ingress-path:2: a comment does not end"),
    "it has a method that is none": (COUNTER.replace("lookup", "look_up"), "ingress-path:4: PKT", 'did you mean "lookup"'),
}


def what_fails_leaves_what_runs(world):
    client = start(world).start(config(path(COUNTER, metric("n", "PKT"))))
    world.send(5)
    where = "/dynmon/mon/dataplane-config"
    for name, (code, *words) in BROKEN.items():
        client.refused("PUT", where, config(path(code, metric("n", "PKT"))), *words)
        equal([5], client.value("n"), "what was counted before, when " + name)
        client.refused("PUT", where + "/ingress-path", path(code, metric("n", "PKT")), *words)
    client.refused("PUT", where, config(path(COUNTER, metric("n", "PTK"))), 'metric "n"', "PKT")
    client.refused("PUT", where, config(path(COUNTER, metric("n", "PKT")), path("int x;")), "egress-path", "handle_rx")
    client.refused("PUT", where, {"ingress-pth": {}}, 'did you mean "ingress-path"')
    client.refused("POST", "/dynmon/mon", {"dataplane-config": config()}, "there is a monitor called mon")
    client.refused("POST", "/dynmon/new", {"dataplane-config": config(path("int x;"))}, "handle_rx")
    equal(404, client.ask("GET", "/dynmon/new")[0], "what could not be created")
    equal(400, client.ask("POST", "/dynmon/new", {"type": "XDP"})[0], "a type that is none")
    equal(COUNTER, client.shown()["dataplane-config"]["ingress-path"]["code"], "the code that runs")
    world.send(6)
    equal([11], client.value("n"), "what was counted throughout")
    equal(1, attached(world), "programs on the interface")


def received_by_ip(world):
    """The frames that are sent have no checksum: IP counts each as an error, and nothing else."""
    names, values = [line.split() for line in world.inside("cat", "/proc/net/snmp").splitlines() if line.startswith("Ip:")]
    return int(values[names.index("InHdrErrors")])


def no_packet_is_missed_while_code_is_replaced(world):
    """What the code drops comes through only where no code is."""
    world.inside("ip", "link", "set", "vb", "address", "02:00:00:00:00:02")
    for kind in "TC", "XDP_SKB":
        client = start(world).start(config(path(COUNTER, metric("n", "PKT"))), kind=kind)
        before = received_by_ip(world)
        world.send(10)
        until(lambda: received_by_ip(world) == before + 10, "what is not dropped to come through")
        drop = COUNTER.replace("return RX_OK", "return RX_DROP")
        client.inject(config(path(drop, metric("n", "PKT"))))
        stop = threading.Event()

        def send():
            while not stop.is_set():
                world.send(100)
        before, frames = received_by_ip(world), world.received()
        thread = threading.Thread(target=send)
        thread.start()
        try:
            for i in range(5):
                client.inject(config(path("/* %d */" % i + drop, metric("n", "PKT"))))
            until(lambda: client.value("n")[0] > 100, "traffic")
        finally:
            stop.set()
            thread.join()
        world.send(1)
        equal(before, received_by_ip(world), "what came through of %d frames, %s" % (world.received() - frames, kind))
        client.daemon.stop()


def reading_what_is_no_value_changes_nothing(world):
    client = start(world).start(config(path(TWO, metric("packets_total", "PKT", True, True, "counter"), metric("kept", "PKT_BYTES", True))))
    world.send(9)
    base = "/dynmon/mon/metrics"
    for _ in range(3):
        for where in ("/dynmon", "/dynmon/mon", "/dynmon/mon/dataplane-config", "/dynmon/mon/dataplane-config/ingress-path",
                      base + "/ingress-metrics/packets_total/timestamp"):
            client.must("GET", where)
        client.scrape()
        client.scrape("text/plain")
        for where in base, base + "/ingress-metrics", base + "/ingress-metrics/kept/value":
            equal(200, client.ask("HEAD", where)[0], "HEAD")
    equal(0, client.must("GET", base + "/ingress-metrics/packets_total/timestamp"), "the time of a read that was none")
    equal([9], client.value("packets_total"), "the first read")
    if not client.must("GET", base + "/ingress-metrics/packets_total/timestamp") > 1.6e15:
        fail("the time of the read is not told")
    equal([0], client.value("packets_total"), "the second")
    equal([9 * FRAME], client.value("kept"), "the other metric")


def counters_only_grow(world):
    client = start(world).start(config(path(TWO, metric("all", "PKT", swap=True), metric("taken_total", "PKT_BYTES", empty=True, kind="counter"),
                                            metric("kept", "KEPT", kind="gauge"))))
    sent, last = 0, 0
    for count in 3, 0, 11, 2:
        world.send(count)
        sent += count
        equal([sent], client.value("all"), "swapped and not emptied")
        equal([count * FRAME], client.value("taken_total"), "emptied")
        text = client.scrape()[1]
        now = float(re.search(r'^taken_total\{path="ingress"\} (\S+)$', text, re.M).group(1))
        if now < last:
            fail("a counter went from %f to %f" % (last, now))
        equal(sent * FRAME, now, "what a scrape has seen of the counter")
        equal(sent, float(re.search(r'^kept\{path="ingress"\} (\S+)$', text, re.M).group(1)), "the gauge")
        last = now


def what_is_emptied_is_what_was_read(world):
    code = "BPF_HASH(H, uint32_t, uint64_t, 64);\nBPF_HASH(OTHER, uint32_t, uint64_t, 64);\nBPF_QUEUE(Q, uint64_t, 900);\n" + HEAD + """
  uint32_t key = md->packet_len & 3;
  uint64_t length = md->packet_len;
  H.increment(key);
  OTHER.increment(key, 2);
  Q.push(&length, 0);
  return RX_OK;
}
"""
    client = start(world).start(config(path(code, metric("h", "H", empty=True), metric("other", "OTHER"), metric("q", "Q"))))
    world.send(800)
    equal([{"key": FRAME & 3, "value": 800}], client.value("h"), "the hash")
    equal([], client.value("h"), "the hash again")
    equal([{"key": FRAME & 3, "value": 1600}], client.value("other"), "the other")
    equal([FRAME] * 800, client.value("q"), "the queue, in its order")
    equal([], client.value("q"), "the queue again")
    world.send(1)
    equal([{"key": FRAME & 3, "value": 1}], client.value("h"), "what came after")


SHARED = 'BPF_TABLE_SHARED("hash", uint32_t, uint64_t, BOTH, 16);\nBPF_ARRAY(OWN, uint64_t, 1);\n' + HEAD + """
  uint32_t key = 1; int zero = 0;
  uint64_t *own = OWN.lookup(&zero);
  BOTH.increment(key);
  if (own)
    __sync_fetch_and_add(own, 1);
  return RX_OK;
}
"""
EXTERN = SHARED.replace('BPF_TABLE_SHARED("hash"', 'BPF_TABLE("extern"').replace("key = 1", "key = 2")


def both_ways_share_a_map(world):
    for swap in False, True:
        client = start(world)
        client.start(config(path(SHARED, metric("both", "BOTH", swap, swap), metric("in", "OWN")),
                            path(EXTERN, metric("both_too", "BOTH", swap, swap), metric("out", "OWN"))))
        equal(2, attached(world), "programs on the interface")
        world.send(12)  # into vb
        world.there(lambda: send_out(5))
        values = client.metrics()
        rows = {row["key"]: row["value"] for row in values["ingress-metrics"][0]["value"]}
        equal({1: 12, 2: 5}, rows, "what both have counted, %s" % ("swapped" if swap else "as it is"))
        equal(rows, {row["key"]: row["value"] for row in values["egress-metrics"][0]["value"]}, "the same by the other's name")
        equal([[12], [5]], [values["ingress-metrics"][1]["value"], values["egress-metrics"][1]["value"]], "their own")
        if swap:
            world.send(1)
            world.there(lambda: send_out(2))
            equal({1: 1, 2: 2}, {row["key"]: row["value"] for row in client.value("both_too", "egress")}, "the next window")
            windows_of_both_ways_are_exact(world, client)
        # The one without the other.
        client.refused("PUT", "/dynmon/mon/dataplane-config/ingress-path", path(COUNTER), 'the map BOTH is "extern"')
        client.must("DELETE", "/dynmon/mon/dataplane-config/egress-path")
        equal(1, attached(world), "programs once the way out is not watched")
        client.daemon.stop()
        equal(0, attached(world), "programs when the daemon has ended")


def windows_of_both_ways_are_exact(world, client):
    """Each packet of either way is in one window, though the programs of both take turns."""
    rounds, sent = 15, {1: 0, 2: 0}

    def traffic():
        for _ in range(rounds):
            world.send(200)
            world.there(lambda: send_out(150))
            sent[1], sent[2] = sent[1] + 200, sent[2] + 150
    thread, seen = threading.Thread(target=traffic), {1: 0, 2: 0}
    thread.start()
    alive = True
    while alive:
        alive = thread.is_alive()
        for row in client.value("both"):
            seen[row["key"]] += row["value"]
    thread.join()
    equal(sent, seen, "what was counted in all windows")


def send_out(count):
    """Frames that leave by vb."""
    import socket  # pylint: disable=import-outside-toplevel
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind(("vb", 0))
        for _ in range(count):
            link.send(bytes.fromhex("020000000001" "020000000002" "88b5") + bytes(46))


def an_interface_may_come_and_go(world):
    client = start(world).start(config(path(COUNTER, metric("n", "PKT", swap=True)), path(COUNTER, metric("out", "PKT"))))
    world.send(4)
    world.inside("ip", "link", "del", "va")
    until(lambda: client.daemon.said("a monitor's interface has gone"), "the daemon to notice")
    equal(([4], "vb"), (client.value("n"), client.shown()["parent"]), "what was counted, and where it belongs")
    world.inside("ip", "link", "add", "va", "type", "veth", "peer", "name", "vb")
    for name in "va", "vb":
        world.inside("ip", "link", "set", name, "arp", "off", "up")
    until(lambda: client.daemon.said("a monitor's interface is there again"), "it to be attached again")
    equal(2, attached(world), "programs on the interface")
    world.send(6)
    equal([10], client.value("n"), "what was counted in all")


def every_mode_counts(world):
    for kind, shown in ("TC", "tc"), ("XDP_SKB", "xdp"), ("XDP_DRV", "xdp"):
        client = start(world)
        client.start(config(path(TWO, metric("n", "PKT", True, True), metric("b", "PKT_BYTES", True, True)),
                            path(COUNTER, metric("out", "PKT"))), kind=kind)
        there = json.loads(world.inside("bpftool", "-j", "net", "show", "dev", "vb"))[0]
        equal(1 if shown == "xdp" else 0, len(there["xdp"]), "XDP programs for " + kind)
        if shown == "xdp":
            equal("generic" if kind == "XDP_SKB" else "driver", there["xdp"][0]["mode"], "the mode")
        for count in 20, 30:
            world.send(count)
            equal([[count], [count * FRAME]], [one["value"] for one in client.metrics()["ingress-metrics"]], kind)
        world.there(lambda: send_out(4))
        equal([4], client.value("out", "egress"), "out, " + kind)
        client.inject(config(path(COUNTER, metric("n", "PKT"))))
        world.send(2)
        equal([2], client.value("n"), kind + " after another injection")
        client.daemon.stop()


def the_exposition_is_one(world):
    code = """
struct key { uint32_t host; uint16_t port; };
BPF_HASH(H, struct key, uint64_t, 16);
BPF_PERCPU_ARRAY(C, uint64_t, 1);
BPF_ARRAY(LIST, uint64_t, 2);
""" + HEAD + """
  struct key key;
  int zero = 0; uint64_t *c = C.lookup(&zero);
  __builtin_memset(&key, 0, sizeof(key));
  key.host = 7; key.port = 53;
  H.increment(key);
  if (c) *c += 1;
  return RX_OK;
}
"""
    client = start(world).start(config(path(
        code, metric("seen_total", "H", kind="Counter", labels=(("who", 'a "b"\\\n'),), help_text='lines\nand \\ "quotes"'),
        metric("cpus", "C", kind="gauge"), metric("list-of", "LIST", kind="untyped"), metric("not_shown", "LIST"))))
    world.send(6)
    kind, text = client.scrape()
    equal("application/openmetrics-text", kind.split(";")[0], "the type")
    if not text.endswith("\n# EOF\n") or text.count("# EOF") != 1:
        fail("it does not end as it has to:\n" + text)
    seen, current = [], None
    for line in text.splitlines()[:-1]:
        if line.startswith("# HELP "):
            current = line.split(" ")[2]
            if current in seen:
                fail("%s comes twice" % current)
            seen.append(current)
        elif not line.startswith("# TYPE %s " % current):
            if not re.fullmatch(r'%s(_total|_created)?\{([a-zA-Z_]\w*="(\\.|[^"\\])*",?)*\} -?[\d.e+-]+' % current, line):
                fail("this is no sample of %s: %s" % (current, line))
    equal(["seen", "cpus", "list_of"], seen, "the families")
    if 'seen_total{who="a \\"b\\"\\\\\\n",path="ingress",host="7",port="53"} 6' not in text:
        fail("the key is not in the labels:\n" + text)
    equal(6, sum(float(line.split(" ")[1]) for line in text.splitlines() if line.startswith("cpus{")), "all CPUs'")
    if 'index="1"' not in text or "not_shown" in text:
        fail("what is exported is not what should be:\n" + text)
    kind, text = client.scrape("text/plain")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    equal((0, ""), (checked.returncode, checked.stdout + checked.stderr), "promtool's words on\n" + text)


def logs_come_out(world):
    code = 'BPF_ARRAY(A, uint64_t, 1);\n' + HEAD + """
  pcn_log(ctx, LOG_DEBUG, "len %d from %I:%P at %M", md->packet_len, bpf_htonl(0x0a000001), bpf_htons(443), 0x665544332211ULL);
  pcn_log(ctx, LOG_TRACE, "not this");
  uint64_t now = pcn_get_time_epoch(); int zero = 0;
  A.update(&zero, &now);
  return RX_OK;
}
"""
    client = start(world).start(config(path(code, metric("at", "A"))), level="debug")
    world.send(2)
    said = "len %d from 10.0.0.1:443 at 11:22:33:44:55:66" % FRAME
    until(lambda: len(client.daemon.said(said)) == 2, "the lines of the log")
    equal([], client.daemon.said("not this"), "lines below the level")
    at, metrics = client.value("at")[0] / 1000, client.metrics()["ingress-metrics"][0]
    if not 0 <= metrics["timestamp"] - at < 60e6:
        fail("the program's time is %.0f us, the daemon's %.0f" % (at, metrics["timestamp"]))


def only_an_admin_injects(world):
    tokens = world.path("credentials")
    roles = {}
    for role in "read", "operate", "admin":
        done = subprocess.run([os.environ["PERILUNE"], "token", role, "--role", role, "--credentials", tokens], capture_output=True,
                              text=True, check=True)
        roles[role] = re.search(r"\S{20,}", done.stdout).group(0)
    daemon = Daemon(world, "--listen", "127.0.0.1:0", "--credentials", tokens)
    client = Client(world, daemon)
    what = {"dataplane-config": config(path(COUNTER, metric("n", "PKT")))}
    for role, expected in ("read", 403), ("operate", 403), (None, 401), ("admin", 201):
        headers = {"Authorization": "Bearer " + roles[role]} if role else {}
        equal(expected, client.ask("POST", "/dynmon/mon", what, headers=headers)[0], "%s injects" % role)
        if role in ("read", "operate", None):
            for method, where in ("PUT", "/dynmon/mon/dataplane-config"), ("POST", "/attach"), ("DELETE", "/dynmon/mon"):
                equal(expected, client.ask(method, where, {} if method != "DELETE" else None, headers=headers)[0],
                      "%s: %s %s" % (role, method, where))
    equal(200, client.ask("GET", "/dynmon/mon/metrics", headers={"Authorization": "Bearer " + roles["read"]})[0], "read reads")


def reading_and_injecting_leaks_nothing(world):
    client = start(world).start(config(path(TWO, metric("packets", "PKT", swap=True, kind="counter"), metric("bytes", "PKT_BYTES", empty=True))))

    def memory():
        with open("/proc/%d/statm" % client.daemon.pid()) as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def files():
        return len(os.listdir("/proc/%d/fd" % client.daemon.pid()))

    def some(count):
        for _ in range(count):
            client.metrics()
            client.scrape()
    some(40)
    before, open_before = memory(), files()
    some(200)
    if memory() - before > 4 << 20:
        fail("%d bytes more after 200 reads" % (memory() - before))
    until(lambda: files() <= open_before, "connections to be closed")
    for i in range(10):
        client.inject(client.shown()["dataplane-config"])
    until(lambda: files() <= open_before, "what was injected before to be gone")


def commands_do_what_the_programs_do(world):
    daemon = Daemon(world)

    def call(status, *words):
        done = subprocess.run([os.environ["PERILUNE"], *words, "--socket", daemon.socket], capture_output=True, text=True, check=False)
        equal(status, done.returncode, "%s: %s" % (" ".join(words), done.stderr))
        return done.stdout if status == 0 else done.stderr
    both = world.write("both.json", json.dumps(config(path(COUNTER, metric("in_total", "PKT", kind="counter")),
                                                      path(COUNTER, metric("out", "PKT")))))
    bad = world.write("bad.json", json.dumps(config(path("int x;"))))
    odd = world.write("odd.json", '{"ingress-path": {"cod": 1}}')
    equal("mon: injected into vb\n", call(0, "inject", "mon", "vb", both, "--mode", "XDP_SKB"), "what is said")
    world.send(8)
    world.there(lambda: send_out(3))
    if "monitors  mon  vb  XDP_SKB" not in call(0, "status"):
        fail("perilune status does not tell of the monitor")
    answer = json.loads(call(0, "extract", "mon"))
    equal([[8], [3]], [answer[side][0]["value"] for side in ("ingress-metrics", "egress-metrics")], "the values")
    equal("[3]\n", call(0, "extract", "mon", "out", "--direction", "egress"), "one value")
    if 'in_total{path="ingress"} 8\n' not in call(0, "extract", "mon", "--open-metrics"):
        fail("the text for scrapers is another")
    for words, said in ((("mon", "vb", bad), "handle_rx"), (("mon", "vb", odd), 'did you mean "code"'), (("new", "vz", both), "vz"),
                        (("mon", "vb", world.path("none")), "none")):
        told = call(2, "inject", *words)
        if said not in told:
            fail("%r is not in %r" % (said, told))
    equal(2, attached(world), "programs after what was wrong")
    equal(["mon"], [one["name"] for one in daemon.get("/polycube/v1/dynmon")], "the monitors")
    equal("[8]\n", call(0, "extract", "mon", "in_total"), "what was counted before")
    equal("mon: injected anew, and attached to va\n", call(0, "inject", "mon", "va", both, "--direction", "ingress"), "what is said")
    equal(0, attached(world), "programs on the interface of before")
    equal([], json.loads(call(0, "extract", "mon", "--direction", "egress")), "the path that was left out")


if __name__ == "__main__":
    main(injects_again_and_reads_as_dynmons_programs_do, values_of_cpus_are_read_where_they_are, types_are_decoded_as_they_are_declared,
         two_maps_swap_and_names_stay_apart, a_window_under_traffic_is_exact, what_fails_leaves_what_runs,
         no_packet_is_missed_while_code_is_replaced, reading_what_is_no_value_changes_nothing, counters_only_grow,
         what_is_emptied_is_what_was_read, both_ways_share_a_map, an_interface_may_come_and_go, every_mode_counts, the_exposition_is_one,
         logs_come_out, only_an_admin_injects, reading_and_injecting_leaks_nothing, commands_do_what_the_programs_do)
