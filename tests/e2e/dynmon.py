# SPDX-License-Identifier: Apache-2.0
"""What the tests of Dynmon's interface share: a client of it, in the manner of Dynmon's own, and code in its dialect."""
import http.client
import json

from serve import PATIENCE, Daemon, equal, fail, until

BASE = "/polycube/v1"
HEAD = "static __always_inline int handle_rx(struct CTXTYPE *ctx, struct pkt_metadata *md) {\n"

# Counts every packet, as briefly as it can be said.
COUNTER = "BPF_ARRAY(PKT, uint64_t, 1);\n" + HEAD + """  unsigned int key = 0;
  uint64_t *value = PKT.lookup(&key);
  if (value)
    __sync_fetch_and_add(value, 1);
  return RX_OK;
}
"""


def metric(name, map_name, empty=False, swap=False, kind=None, labels=(), help_text="what it counts"):
    one = {"name": name, "map-name": map_name}
    if empty or swap:
        one["extraction-options"] = {"empty-on-read": empty, "swap-on-read": swap}
    if kind:
        one["open-metrics-metadata"] = {"help": help_text, "type": kind,
                                        "labels": [{"name": name, "value": value} for name, value in labels]}
    return one


def path(code, *metrics):
    return {"name": "a probe of the tests", "code": code, "metric-configs": list(metrics)}


def config(ingress=None, egress=None):
    return {"ingress-path": ingress or {}, "egress-path": egress or {}}


class Client:
    """Sends no credential and no Content-Type, as Dynmon's programs do."""

    def __init__(self, world, daemon, name="mon"):
        self.world, self.daemon, self.name = world, daemon, name
        self.port = int(daemon.said("listening")[0]["at"].rsplit(":", 1)[1])

    def ask(self, method, where, body=None, headers=None):
        def asked():
            one = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
            one.request(method, BASE + where, body=None if body is None else json.dumps(body), headers=headers or {})
            answer = one.getresponse()
            text = answer.read()
            one.close()
            return answer.status, dict(answer.getheaders()), text
        return self.world.there(asked)

    def must(self, method, where, body=None, **more):
        status, _, text = self.ask(method, where, body, **more)
        if status >= 300:
            fail("%s %s: %d %s" % (method, where, status, text.decode()))
        return json.loads(text) if text.strip() else None

    def refused(self, method, where, body, *words):
        status, _, text = self.ask(method, where, body)
        if not 400 <= status < 500:
            fail("%s %s was answered %d %s" % (method, where, status, text))
        detail = json.loads(text)["detail"]
        for word in words:
            if word not in detail:
                fail("%s %s: %r is not in %r" % (method, where, word, detail))

    def create(self, what, kind="TC", level="OFF"):
        self.must("POST", "/dynmon/" + self.name, {"dataplane-config": what, "type": kind, "loglevel": level})

    def attach(self, port="vb"):
        self.must("POST", "/attach", {"cube": self.name, "port": port, "position": "last"})

    def start(self, what, **more):
        self.create(what, **more)
        self.attach()
        return self

    def inject(self, what):
        self.must("PUT", "/dynmon/%s/dataplane-config" % self.name, what)

    def metrics(self):
        return self.must("GET", "/dynmon/%s/metrics//" % self.name)

    def value(self, name, side="ingress"):
        return self.must("GET", "/dynmon/%s/metrics/%s-metrics/%s/value" % (self.name, side, name))

    def shown(self):
        return self.must("GET", "/dynmon/" + self.name)

    def scrape(self, accept="application/openmetrics-text; version=1.0.0"):
        status, headers, text = self.ask("GET", "/dynmon/%s/open-metrics" % self.name, headers={"Accept": accept})
        equal(200, status, "the status of a scrape")
        return headers["Content-Type"], text.decode()


def start(world, *words, name="mon"):
    return Client(world, Daemon(world, "--listen", "127.0.0.1:0", "--no-auth", *words), name)


def attached(world):
    """How many programs the kernel has on vb, both ways."""
    return len(world.attached())


def until_value(client, expected, name, side="ingress"):
    until(lambda: client.value(name, side) == expected, "%s to be %r, not %r" % (name, expected, client.value(name, side)))
