# SPDX-License-Identifier: Apache-2.0
# ctest: serial
# ctest: once
# ctest: timeout 900
"""Clients that mean no good, and many at a time: nothing crashes, nothing is left open, nobody gets more than their role gives, and
windows do not notice.

The daemon listens twice, so that whoever is attacked at TCP can be asked at the Unix socket how it goes.
"""
import json
import os
import random
import resource
import select
import socket
import subprocess

from serve import COUNT, PERILUNE, Daemon, equal, fail, main, run, until

PORT = 9464
RANK = {"none": 0, "read": 1, "operate": 2, "admin": 3}
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get", "X"]
WAVE, WAVES = 500, 20
TOGETHER = 60


def start(world):
    world.tokens = {role: run(PERILUNE, "token", role, "--role", role, "--credentials", world.path("credentials")).strip()
                    for role in ("read", "operate", "admin")}
    daemon = Daemon(world, "--listen", "unix:%s,127.0.0.1:%d" % (world.path("daemon.sock"), PORT), "--credentials", world.path("credentials"),
                    world.write("count.lua", COUNT % ""))
    daemon.wait_for("count")
    return daemon


def dial(world, blocking=True):
    def connect():
        one = socket.socket()
        one.settimeout(30 if blocking else 0)
        if blocking:
            one.connect(("127.0.0.1", PORT))
        else:
            one.connect_ex(("127.0.0.1", PORT))
        return one
    return world.there(connect)


def say(one, data, finish):
    try:
        one.sendall(data)
        if finish:
            one.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def hear(one):
    """What is answered until the connection is closed: (status or None, everything)."""
    text = b""
    with one:
        while True:
            try:
                more = one.recv(65536)
            except OSError:
                break
            if not more:
                break
            text += more
    head = text.split(b"\r\n", 1)[0].split()
    return (int(head[1]) if len(head) > 1 and head[0].startswith(b"HTTP/1.") else None), text


def raw(world, data, finish=True):
    one = dial(world)
    say(one, data, finish)
    return hear(one)


def at_once(world, texts):
    """The same for many at a time, as many as one address may have connections."""
    answers = []
    for begin in range(0, len(texts), TOGETHER):
        ones = [dial(world) for _ in texts[begin:begin + TOGETHER]]
        for one, text in zip(ones, texts[begin:]):
            say(one, text, True)
        answers += [hear(one) for one in ones]
    return answers


def request(method, target, token=None, body=None, kind="application/json", more=b""):
    head = b"%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % (method.encode(), target if isinstance(target, bytes) else target.encode())
    if token:
        head += b"Authorization: Bearer " + token.encode() + b"\r\n"
    if body is not None:
        head += b"Content-Type: %s\r\nContent-Length: %d\r\n" % (kind.encode(), len(body))
    return head + more + b"\r\n" + (body or b"")


class Health:
    """What must be as it was, after whatever was done."""

    def __init__(self, daemon):
        self.daemon, self.pid = daemon, daemon.pid()
        self.before = self.numbers()
        self.started = daemon.policy("count")["started"]

    def numbers(self):
        with open("/proc/%d/status" % self.pid) as file:
            rss = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
        return {"fds": len(os.listdir("/proc/%d/fd" % self.pid)), "rss": rss, "children": len(self.daemon.children())}

    def check(self, what, megabytes=48):
        # Connections that are closed here may still be open there.
        until(lambda: self.numbers()["fds"] <= self.before["fds"] + 1, "the descriptors after %s: %r, and %r before" % (what, self.numbers(), self.before))
        until(lambda: self.numbers()["children"] == self.before["children"], "the processes after " + what)
        now = self.numbers()
        if now["rss"] - self.before["rss"] > megabytes * 1024:
            fail("memory after %s: %r kB, and %r before" % (what, now["rss"], self.before["rss"]))
        equal((self.started, "running"), (self.daemon.policy("count")["started"], self.daemon.policy("count")["state"]), "the policy after " + what)
        for message in "an error in perilune itself", "a request failed":
            if self.daemon.said(message):
                fail("%s: %r" % (what, self.daemon.said(message)[0]))


def filled(path):
    return path.replace("{name}", "count").replace("{id}", "1")


def nobody_gets_more_than_their_role(world):
    daemon = start(world)
    health = Health(daemon)
    operations = [(method.upper(), path, operation["x-role"]) for path, item in daemon.get("/v1/openapi.json")["paths"].items()
                  for method, operation in item.items()]
    if len(operations) < 20:
        fail("there are only %d operations" % len(operations))
    for method, path, needed in operations:
        for role, token in [("none", None)] + [(role, world.tokens[role]) for role in ("read", "operate")]:
            if RANK[role] >= RANK[needed]:
                continue
            # What is asked for is right in all but the role: a body that is never looked at.
            status, text = raw(world, request(method, filled(path), token, b"{}" if method in ("POST", "PUT") else None), False)
            equal(401 if role == "none" else 403, status, "%s %s as %s: %r" % (method, path, role, text[:200]))
            if method != "HEAD" and b"application/problem+json" not in text:
                fail("%s %s as %s: %r" % (method, path, role, text[:200]))
    # Without a credential nothing but health, by any method, known or not.
    for path in sorted({path for _, path, _ in operations}) + ["/", "/v1", "/nothing", "/v1/health/x", "/metrics/", "/polycube/v1"]:
        for method in METHODS:
            status, text = raw(world, request(method, filled(path)), False)
            if path == "/v1/health" and method in ("GET", "HEAD"):
                equal(200, status, method + " of the health")
            elif status is None or status < 400:
                fail("%s %s without a credential: %r" % (method, path, text[:200]))
    for credential in "Basic YWRtaW46YWRtaW4=", "Bearer ", "Bearer x y", "bearer " + "A" * 5000, "Bearer " + world.tokens["admin"][:-1], "Negotiate":
        status, text = raw(world, request("GET", "/v1/service", more=b"Authorization: " + credential.encode() + b"\r\n"), False)
        equal(401, status, "with %r: %r" % (credential, text[:200]))
    health.check("asking without the role")
    equal(0, daemon.stop(), "the exit status")


DEEP = 200000
BODIES = [
    b"", b"{", b"}", b"null", b"[]", b"1", b'"x"', b"{}", b"{\"level\":", b'{"level":1}', b'{"level":{}}', b'{"level":null}', b'{"level":[["deep"]]}',
    b"[" * DEEP, b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"level":1e999}', b'{"level":' + b"9" * 5000 + b"}", b'{"level":"deep","for":-1}',
    b'{"level":"deep","for":"99999999999999999999d"}', b'{"level":"deep","for":1e308}', b'{"level":"deep","for":{"a":1}}', b'{"name":"x","text":1}',
    b'{"name":"x","text":"return 1","set":{"a":{"b":1}}}', b'{"name":"x","text":"return 1","set":[1,2,3]}', b'{"name":"../../x","text":"return 1"}',
    b'{"name":"' + b"x" * 100000 + b'","text":""}', b'{"text":"\\u0000"}', b"\xff\xfe{}", b"\x00" * 100, b'{"a":"\xc3\x28"}', b'{"level":"\xed\xa0\x80"}',
    b'{"level":"x","level":"y"}', b"{" + b",".join(b'"k%d":%d' % (i, i) for i in range(20000)) + b"}", b"x" * 1000000, b"\x1bLJ\x02\x02" + b"\x00" * 50,
    b'{"name":"x","text":"\x1bLJ\\u0002"}', b"NaN", b"-", b'{"for":Infinity}', b"{}{}", b'{"level":"deep"}trailing',
]


def bodies_that_are_wrong(world):
    daemon = start(world)
    health = Health(daemon)
    document = daemon.get("/v1/openapi.json")
    token, asked = world.tokens["admin"], 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if path in ("/v1/stream",) or path.startswith("/polycube"):
                continue
            kinds = list(operation.get("requestBody", {}).get("content", {})) or ["application/json"]
            for kind in kinds + ["image/png"]:
                for body in BODIES:
                    if kind == "text/x-lua" and body[:1] in (b"", b"{"):
                        continue
                    status, text = raw(world, request(method.upper(), filled(path), token, body, kind), False)
                    asked += 1
                    # A body where none is wanted, or a wrong one: never taken, and never too much. Without one, some take none.
                    if status is None or status >= 500 and status not in (503, 504) or (status < 400 and body not in (b"", b"{}")):
                        fail("%s %s with %s %r: %r" % (method, path, kind, body[:60], text[:300]))
            if operation.get("requestBody"):
                # Bodies that end too early: nobody is answered, and nothing is done.
                raw(world, request(method.upper(), filled(path), token, more=b"Content-Length: 1000\r\nContent-Type: application/json\r\n") + b'{"a":')
                raw(world, request(method.upper(), filled(path), token, more=b"Transfer-Encoding: chunked\r\n") + b"5\r\nabc")
    if asked < 300:
        fail("only %d wrong bodies were sent" % asked)
    equal(["count"], [p["name"] for p in daemon.get("/v1/policies")["policies"]], "the policies after all that")
    health.check("wrong bodies")
    equal(0, daemon.stop(), "the exit status")


TARGETS = [
    "/v1/../../etc/passwd", "/v1/policies/../service", "/v1/policies/..%2f..%2fservice", "/v1/%2e%2e/service", "/v1/policies/%00", "/v1/policies/count%00",
    "//v1/service", "/v1//service", "/v1/service/.", "/./v1/service", "/v1/policies/count/source/../../../../etc/shadow", "/%76%31/..;/service",
    "\\v1\\service", "/v1/policies/%c0%ae%c0%ae/service", "/v1/service%", "/v1/service%4", "/v1/service%zz", "/v1/service?x=1&x=2", "/v1/service?%",
    "/v1/service#x", "v1/service", "*", "http://x/v1/service", "/v1/maps/-1", "/v1/maps/1e3", "/v1/maps/0x10", "/v1/maps/99999999999999999999",
    "/v1/maps/1?limit=-1", "/v1/maps/1?limit=1e9", "/v1/maps/1?limit=99999999999999999999", "/v1/policies/count/windows?limit=0x10", "/" + "a" * 5000,
    "/v1/policies/" + "a/" * 2000, "/v1/templates/..", "/v1/templates/%2e%2e%2f", "/v1/templates/../../runtime", "/v1/policies/;id", "/v1/policies/$(id)",
    "/v1/policies/count/source?file=/etc/passwd", b"/v1/policies/\xff\xfe", b"/v1/\xc3\xa9", "/v1/policies/%0d%0aX:%20y", "/v1/stream?policy=%0a",
    "/v1/policies/count/level/x", "/open-metrics/../metrics", "/metrics?x=1",
]

# What is hardly HTTP.
NOISE = [
    b"\r\n", b"\x00" * 1000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)), b"GET\r\n\r\n", b"GET /v1/health\r\n\r\n", b"GET /v1/health HTTP/9.9\r\n\r\n",
    b"GET /v1/service HTTP/1.1\r\n\r\n", b"GET /v1/service HTTP/1.0\r\n\r\n", b"GET /v1/service HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /v1/service HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 20000 + b"\r\n", b"GET /v1/service HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 200000 + b"\r\n\r\n",
    b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /v1/service HTTP/1.1\r\nHost: x\r\n bad: folded\r\n\r\n", b"GET /v1/service HTTP/1.1\r\nHost x\r\n\r\n",
    b"POST /v1/policies HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"POST /v1/policies HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /v1/policies HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 6\r\n\r\nhello", b"POST /v1/policies HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nhello",
    b"POST /v1/policies HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nffffffffffffffffff\r\n",
    b"POST /v1/policies HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n", b"POST /v1/policies HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/policies HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /v1/service HTTP/1.1\nHost: x\n\n",
    b"GET /v1/service HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \x00\x01\x02\r\n\r\n", b"GET /v1/stream HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    b"GET /v1/service HTTP/1.1\r\nHost: x\r\n\r\n" * 200,
]


def paths_and_noise(world):
    daemon = start(world)
    health = Health(daemon)
    for target in TARGETS:
        status, text = raw(world, request("GET", target, world.tokens["admin"]), False)
        if status is None or status < 400 or status >= 500 and status != 503 or b"root:" in text:
            fail("GET %r: %r" % (target, text[:300]))
    chance = random.Random(42)
    noise = NOISE + [bytes(chance.randrange(256) for _ in range(chance.randrange(1, 3000))) for _ in range(50)]
    # Requests of which a byte is another.
    whole = request("PUT", "/v1/policies/count/level", "x" * 43, b'{"level":"deep"}')
    for _ in range(150):
        at = chance.randrange(len(whole))
        noise.append(whole[:at] + bytes([chance.randrange(256)]) + whole[at + 1:])
        noise.append(whole[:chance.randrange(len(whole))])
    for data, (_, text) in zip(noise, at_once(world, noise)):
        for line in text.split(b"\r\n"):
            if line.startswith(b"HTTP/1.1 2") and b"/v1/health" not in data:
                fail("%r was answered %r" % (data[:100], text[:200]))
    equal("calm", daemon.policy("count")["level"], "the level, which nobody was allowed to change")
    health.check("noise")
    equal(0, daemon.stop(), "the exit status")


def ten_thousand_connections(world):
    """More than there is room for, that say nothing, half of something, or too slowly; others are answered meanwhile."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(4096, WAVE * 4), max(resource.getrlimit(resource.RLIMIT_NOFILE)[1], WAVE * 4)))
    daemon = start(world)
    health = Health(daemon)
    first = until(lambda: daemon.policy("count").get("last_window_seq"), "a window")
    says = [b"", b"G", b"GET /v1/health HTTP/1.1\r\nHost: x\r\n", b"POST /v1/policies HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{", b"\x00"]
    opened = 0
    for wave in range(WAVES):
        ones = [dial(world, False) for _ in range(WAVE)]
        _, ready, _ = select.select([], ones, [], 1)
        for i, one in enumerate(ready):
            opened += 1
            try:
                one.send(says[i % len(says)])
            except OSError:
                pass
        equal("ok", daemon.get("/v1/health")["status"], "the health in wave %d" % wave)
        for i, one in enumerate(ones):
            # Some go without a word, some with a reset.
            if i % 2:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            one.close()
    if opened < WAVE * WAVES // 4:
        fail("only %d connections of %d were made" % (opened, WAVE * WAVES))
    # There is room again at the port that was attacked.
    until(lambda: raw(world, request("GET", "/v1/health"), False)[0] == 200, "an answer at the port that was attacked")
    windows_are_whole(daemon, first)
    health.check("ten thousand connections")
    equal(0, daemon.stop(), "the exit status")


def windows_are_whole(daemon, first):
    """No window is missing since `first`, as far as the daemon remembers."""
    until(lambda: daemon.policy("count")["last_window_seq"] > first + 2, "more windows")
    windows = [w for w in daemon.get("/v1/policies/count/windows?limit=256")["windows"] if w["seq"] > first]
    numbers = [w["seq"] for w in windows]
    equal(list(range(numbers[0], numbers[-1] + 1)), numbers, "the numbers of windows")
    return windows


SECONDS = 4  # of load for each path


def load_delays_no_window(world):
    """wrk at full speed: windows are as long as they were, and nothing is left."""
    daemon = Daemon(world, "--listen", "unix:%s,127.0.0.1:%d" % (world.path("daemon.sock"), PORT), "--no-auth", world.write("count.lua", COUNT % ""))
    daemon.wait_for("count")
    health = Health(daemon)
    stream = daemon.connection()
    stream.request("GET", "/v1/stream?events=window")
    listener = stream.getresponse()
    lengths, packets = [], 0

    def read_until(condition):
        nonlocal packets
        while not condition():
            line = listener.readline()
            if not line:
                fail("the stream of windows has ended")
            if line.startswith(b"data: "):
                window = json.loads(line[6:])
                lengths.append(window["seconds"])
                packets += window["packets"]
    for path in "/v1/policies", "/metrics", "/v1/policies/count":
        load = subprocess.Popen(["ip", "netns", "exec", world.netns, "wrk", "-t2", "-c48", "-d%ds" % SECONDS, "http://127.0.0.1:%d%s" % (PORT, path)],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        begin = len(lengths)
        while load.poll() is None:
            world.send(20)
            seen = len(lengths)
            read_until(lambda: len(lengths) > seen)
        said = load.stdout.read()
        if "Requests/sec" not in said or "Non-2xx" in said:
            fail("wrk of %s: %s" % (path, said))
        read_until(lambda: len(lengths) > begin + SECONDS)
        during = sorted(lengths[begin:])
        print("  %s: %s; windows of 0.1 s: median %.4f s, longest %.4f s" % (path, said.split("Requests/sec:")[1].split()[0], during[len(during) // 2], during[-1]))
        # Who is delayed by clients is so in every window. (The machine's other work may hold one up.)
        if during[len(during) // 2] > 0.2:
            fail("windows of 0.1 s while wrk asks for %s: %r" % (path, during))
    sent = world.received()
    read_until(lambda: packets >= sent)
    equal(sent, packets, "the packets of all windows")
    stream.close()
    health.check("load", 24)
    equal(0, daemon.stop(), "the exit status")


if __name__ == "__main__":
    main(nobody_gets_more_than_their_role, bodies_that_are_wrong, paths_and_noise, ten_thousand_connections, load_delays_no_window)
