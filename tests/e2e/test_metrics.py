# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""What scrapers get of the daemon: formats that others read, counts that are the kernel's, and bounds that hold.

Judges: promtool, a Prometheus that scrapes and is queried, python3-prometheus-client's parser, and the kernel's own counters.
"""
import json
import os
import signal
import socket
import struct
import subprocess
import urllib.error
import urllib.parse
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from serve import PERILUNE, Daemon, equal, fail, main, run, until

POLICY = """return policy "count" {
  attach = { iface = "vb", hook = "tc.ingress" }, window = "100ms",
  always = { counter "totals" { features = { "size_hist" } } },
  levels = { level "calm" {}, level "deep" { flows "from" { key = "src" } } },
  sets = { set "known" { of = "src", max = 8, members = { "192.0.2.1" } } },
  rules = { rule "busy" { when = rate "totals.packets":above "1M/s", clear = rate "totals.packets":below "1k/s", hold = "deep" } },
  exports = { metrics "totals" { "packets", "bytes", "sizes" }, metrics "from" { "packets", "bytes", series = 100 } },
}"""
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5"
OCTETS = 46  # of the IP packets that world.send() sends


def scrape(daemon, accept=ACCEPT, path="/metrics"):
    answer = daemon.ask("GET", path, headers={"Accept": accept} if accept else None)
    equal(200, answer.status, "the status of a scrape: %r" % answer)
    return answer.headers["Content-Type"], answer.body.decode()


def parse(text):
    """Samples by name and labels; whatever the parser does not like is an error."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            if key in found:
                fail("twice: %r" % (key,))
            found[key] = sample.value
    return found


def pick(samples, wanted, **labels):
    """The samples of a name that have these labels."""
    return {at: value for (name, at), value in samples.items()
            if name == wanted and all(dict(at).get(key) == text for key, text in labels.items())}


def one(samples, name, **labels):
    found = list(pick(samples, name, **labels).values())
    equal(1, len(found), "samples of %s %r" % (name, labels))
    return found[0]


def promtool(text):
    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    if done.returncode or done.stdout or done.stderr:
        fail("promtool: %d %s%s" % (done.returncode, done.stdout, done.stderr))


def formats_and_counts(world):
    daemon = Daemon(world, world.write("count.lua", POLICY), "--host", "here")
    daemon.wait_for("count")
    until(lambda: "perilune_traffic_packets_total" in scrape(daemon)[1], "the first window")
    kind, text = scrape(daemon)
    equal("application/openmetrics-text; version=1.0.0; charset=utf-8", kind, "the type")
    samples = parse(text)
    equal(0, one(samples, "perilune_traffic_packets_total", policy="count", probe="totals"), "before anything is sent")
    equal(1, one(samples, "target_info", host="here"), "the labels of the configuration")
    equal((1, 0), (one(samples, "perilune_level", perilune_level="calm"), one(samples, "perilune_level", perilune_level="deep")), "the level")
    equal(1, one(samples, "perilune_set_members", set="known"), "the members of the set")
    for which in None, "text/plain;version=0.0.4", "*/*":
        kind, text = scrape(daemon, which)
        equal("text/plain; version=0.0.4; charset=utf-8", kind, "the type of the old format")
        promtool(text)
    equal("application/openmetrics-text; version=1.0.0; charset=utf-8", scrape(daemon, None, "/open-metrics")[0], "the type of /open-metrics")
    # Counts are what was sent, at the deep level also by source; looking again and again changes nothing.
    daemon.ask("PUT", "/v1/policies/count/level", body={"level": "deep"})
    until(lambda: one(parse(scrape(daemon)[1]), "perilune_level", perilune_level="deep") == 1, "the level in the metrics")
    world.send(700)
    count = lambda: one(parse(scrape(daemon)[1]), "perilune_traffic_packets_total", probe="totals")  # noqa: E731
    until(lambda: count() >= 700, "the packets in the metrics")
    for _ in range(20):
        equal(700, count(), "the packets in the metrics, looked at again")
    samples = parse(scrape(daemon)[1])
    equal(700 * OCTETS, one(samples, "perilune_traffic_bytes_total", probe="totals"), "their octets")
    equal(700, one(samples, "perilune_flows_packets_total", src="192.0.2.1"), "the packets of their source")
    equal(700, one(samples, "perilune_packets_total", direction="ingress"), "the packets of the hook")
    equal(700, one(samples, "perilune_traffic_sizes_bytes_bucket", le="63.0"), "the packets of up to 63 octets")
    equal((700, 700 * OCTETS), (one(samples, "perilune_traffic_sizes_bytes_count"), one(samples, "perilune_traffic_sizes_bytes_sum")), "the histogram")
    equal({0}, set(pick(samples, "perilune_loss_total").values()), "what was lost")
    if sum(pick(samples, "perilune_windows_total").values()) < 2 or one(samples, "perilune_load_seconds") <= 0:
        fail("the policy's health: %r" % samples)
    # What the process was before it died is not what it is now: a counter that began anew says so.
    before = one(samples, "perilune_traffic_packets_created", probe="totals")
    os.kill(daemon.children()[0], signal.SIGKILL)
    until(lambda: pick(parse(scrape(daemon)[1]), "perilune_policy_restarts_total", policy="count") and
          one(parse(scrape(daemon)[1]), "perilune_policy_restarts_total", policy="count") == 1, "the next life of the policy")
    until(lambda: pick(parse(scrape(daemon)[1]), "perilune_traffic_packets_created"), "its first window")
    if one(parse(scrape(daemon)[1]), "perilune_traffic_packets_created", probe="totals") <= before:
        fail("a counter that began anew is as old as before")
    equal(0, daemon.stop(), "the exit status")


def counters_go_on_over_a_replacement(world):
    """A policy that is replaced while it runs: what means the same counts on, as old as it was."""
    daemon = Daemon(world)
    put = lambda text: daemon.ask("PUT", "/v1/policies/count", body=text, kind="text/x-lua").status  # noqa: E731
    count = lambda: list(pick(parse(scrape(daemon)[1]), "perilune_traffic_packets_total").values())  # noqa: E731
    equal(201, put(POLICY), "the creation")
    world.send(100)
    until(lambda: count() == [100], "the first packets")
    created = one(parse(scrape(daemon)[1]), "perilune_traffic_packets_created")
    equal(200, put(POLICY.replace('above "1M/s"', 'above "2M/s"')), "the replacement")
    world.send(50)
    until(lambda: count() == [150], "the packets of before and after")
    equal(created, one(parse(scrape(daemon)[1]), "perilune_traffic_packets_created"), "when the counter began")
    equal(1, one(parse(scrape(daemon)[1]), "perilune_reloads_total"), "the reloads")
    equal(0, daemon.stop(), "the exit status")


OWN = """struct NAME(key) { __be16 port; __u8 ttl; __u8 pad; };
struct NAME(value) { __u64 packets; };
WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(key) key = {.port = p->sport, .ttl = p->ttl};
	struct NAME(value) fresh = {}, *row = half__row(&NAME(rows), p->half, &key, &fresh);

	if (row)
		count__shared(row->packets, p->segments);
	else if ((row = half__value(&NAME(other), p->half, 1, 0)))
		count__own(row->packets, p->segments);
}
"""


def own_code_has_metrics_too(world):
    world.write("own.bpf.c", OWN)
    daemon = Daemon(world, world.write("own.lua", """return policy "own" { attach = { iface = "vb", hook = "tc.ingress" }, window = "100ms",
      always = { source "ports" { file = "own.bpf.c", windowed = { "rows", other = "other" } } },
      exports = { metrics "ports" { "packets" } } }"""))
    daemon.wait_for("own")
    world.send(77)
    found = lambda: pick(parse(scrape(daemon)[1]), "perilune_source_packets_total")  # noqa: E731
    until(lambda: sum(found().values()) == 77, "the packets of the own code")
    equal({("1024", "64"): 77, ("other", "other"): 0}, {(dict(at)["port"], dict(at)["ttl"]): value for at, value in found().items()}, "its series")
    promtool(scrape(daemon, None)[1])
    equal(0, daemon.stop(), "the exit status")


class Prometheus:
    """A real one in the world's namespace, which scrapes a daemon at TCP there."""

    def __init__(self, world, port):
        self.world, self.port = world, port + 1
        config = world.write("prometheus.yml", """global: { scrape_interval: 500ms, scrape_timeout: 400ms }
scrape_configs:
  - job_name: perilune
    static_configs: [ { targets: [ "127.0.0.1:%d" ] } ]
""" % port)
        self.log = open(world.path("prometheus.log"), "wb")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", world.netns, "prometheus", "--config.file=" + config, "--storage.tsdb.path=" + world.path("tsdb"),
             "--web.listen-address=127.0.0.1:%d" % self.port], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        world.closers.append(self.close)

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def query(self, text):
        """The value of the one series that a query finds; None when there is none yet."""
        url = "http://127.0.0.1:%d/api/v1/query?query=%s" % (self.port, urllib.parse.quote(text))

        def ask():
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return json.load(answer)
            except OSError:
                return None
        found = self.world.there(ask)
        result = found and found["data"]["result"]
        return float(result[0]["value"][1]) if result else None


def a_prometheus_counts_the_same(world):
    daemon = Daemon(world, "--listen", "unix:%s,127.0.0.1:9464" % world.path("daemon.sock"), "--no-auth", world.write("count.lua", POLICY))
    daemon.wait_for("count")
    prometheus = Prometheus(world, 9464)
    until(lambda: prometheus.query('up{job="perilune"}') == 1, "Prometheus to scrape")
    query = 'perilune_traffic_packets_total{policy="count",probe="totals",direction="ingress"}'
    until(lambda: prometheus.query(query) == 0, "the counter before anything is sent")
    before = world.received()
    for _ in range(5):
        world.send(200)
    sent = world.received() - before
    equal(1000, sent, "what the kernel says was received")
    until(lambda: prometheus.query(query) == sent, "a query to return what was sent")
    # A counter that is there at 0 from the start: what a query says of the time includes the first packets.
    increase = until(lambda: prometheus.query("increase(%s[1m])" % query), "an increase")
    if not 900 <= increase <= 1500:
        fail("the increase that Prometheus sees of 1000 packets: %f" % increase)
    equal(sent, prometheus.query("sum(perilune_packets_total)"), "the packets of the hook")
    # All are in the first bucket, to which Prometheus knows no lower end but 0.
    median = "histogram_quantile(0.5, sum by (le) (increase(perilune_traffic_sizes_bytes_bucket[1m])))"
    equal(31.5, until(lambda: prometheus.query(median), "the median of the sizes"), "the median of the sizes")
    equal(1, prometheus.query('perilune_level{perilune_level="calm"}'), "the level")
    equal(0, daemon.stop(), "the exit status")


def many_sources(world, count):
    """A frame from each of so many sources."""
    head = bytes.fromhex("020000000002" "020000000001" "0800")

    def checksum(header):
        total = sum(struct.unpack("!10H", header))
        while total >> 16:
            total = (total & 0xffff) + (total >> 16)
        return ~total & 0xffff

    def out():
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
            link.bind(("va", 0))
            for i in range(count):
                ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, OCTETS, 0, 0x4000, 64, 17, 0, bytes([10, 0, i >> 8, i & 255]), bytes([192, 0, 2, 2]))
                ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
                link.send(head + ip + struct.pack("!HHHH", 1024, 9, OCTETS - 20, 0) + bytes(18))
    before = world.received()
    world.there(out)
    until(lambda: world.received() - before >= count, "the frames to arrive")


def ten_thousand_sources_are_a_hundred_series(world):
    daemon = Daemon(world, world.write("count.lua", POLICY))
    daemon.wait_for("count")
    daemon.ask("PUT", "/v1/policies/count/level", body={"level": "deep"})
    until(lambda: one(parse(scrape(daemon)[1]), "perilune_level", perilune_level="deep") == 1, "the level in the metrics")
    world.send(300)
    flows = lambda: pick(parse(scrape(daemon)[1]), "perilune_flows_packets_total")  # noqa: E731
    until(lambda: sum(flows().values()) == 300, "the packets of one source")
    sizes = []
    for _ in range(2):
        many_sources(world, 10000)
        sizes.append(len(scrape(daemon)[1]))
    until(lambda: sum(flows().values()) == 20300, "the packets of ten thousand")
    found = flows()
    equal(101, len(found), "the series of a limit of 100, and the other")
    sources = {dict(at)["src"]: value for at, value in found.items()}
    equal(300, sources["192.0.2.1"], "who was there before the attack")
    equal(20300 - sum(v for k, v in sources.items() if k != "other"), sources["other"], "the rest")
    if max(sizes) > 100000:
        fail("the exposition of 100 series has %d bytes" % max(sizes))
    equal((101, 101), (one(parse(scrape(daemon)[1]), "perilune_metric_series", probe="from"),
                       one(parse(scrape(daemon)[1]), "perilune_metric_series_limit", probe="from")), "the series, and how many there may be")
    equal(0, daemon.stop(), "the exit status")


def what_needs_a_role(world):
    """Without a credential nothing but health; with the least, metrics."""
    token = run(PERILUNE, "token", "prom", "--role", "read", "--credentials", world.path("credentials")).strip()
    daemon = Daemon(world, "--listen", "unix:%s,127.0.0.1:9464" % world.path("daemon.sock"), "--credentials", world.path("credentials"))

    def ask(headers):
        request = urllib.request.Request("http://127.0.0.1:9464/metrics", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
    equal(401, world.there(lambda: ask({})), "the status without a credential")
    equal(200, world.there(lambda: ask({"Authorization": "Bearer " + token})), "the status with one")
    equal(0, daemon.stop(), "the exit status")


if __name__ == "__main__":
    main(formats_and_counts, counters_go_on_over_a_replacement, own_code_has_metrics_too, a_prometheus_counts_the_same, ten_thousand_sources_are_a_hundred_series, what_needs_a_role)
