# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
"""The daemon: policies that come, change and go over its interface, what it shows of them, and what it streams.

Counts are held against the kernel's own, and every answer against the OpenAPI document that the daemon serves.
"""
import json
import os
import re
import signal
import socket

import jsonschema

from serve import COUNT, Daemon, equal, fail, main, until

WORDS = "return policy \"other\" { attach = { iface = \"vb\" }, always = { counter \"totals\" {} } }"


def matches(document, answer, method, path):
    """An answer is as the document says."""
    operation = document["paths"][path][method.lower()]
    response = operation["responses"].get(str(answer.status))
    if not response:
        fail("%s %s: the document knows no answer %d" % (method, path, answer.status))
    content = response.get("content")
    if not content:
        equal(b"", answer.body, "the body of %s %s" % (method, path))
        return
    kind = answer.headers["Content-Type"].split(";")[0]
    if kind not in content:
        fail("%s %s: the document knows no %s" % (method, path, kind))
    if kind.endswith("json"):
        schema = dict(content[kind]["schema"], components=document["components"])
        jsonschema.Draft202012Validator(schema).validate(answer.json())


class Interface:
    """Asks, and holds every answer against the document."""

    def __init__(self, daemon):
        self.daemon, self.document, self.seen = daemon, daemon.get("/v1/openapi.json"), set()
        for name, schema in self.document["components"]["schemas"].items():
            jsonschema.Draft202012Validator.check_schema(schema)
            for ref in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(schema)):
                if ref not in self.document["components"]["schemas"]:
                    fail("%s refers to %s, which is not there" % (name, ref))

    def ask(self, status, method, path, template=None, **more):
        answer = self.daemon.ask(method, path, **more)
        equal(status, answer.status, "%s %s: %r" % (method, path, answer))
        template = template or path
        matches(self.document, answer, method, template)
        if status >= 400:
            equal(status, answer.json()["status"], "the status in the problem")
        self.seen.add((method.lower(), template))
        return answer


def lives_as_its_interface_says(world):
    text = COUNT % 'sets = { set "own" { of = "src", max = 3, members = { "192.0.2.8", "192.0.2.7" } } },'
    policy = world.write("count.lua", text)
    daemon = Daemon(world, policy, "--host", "here", "--site", "there")
    daemon.wait_for("count")
    ask = Interface(daemon).ask
    ask(200, "GET", "/v1/health")
    equal("here", ask(200, "GET", "/v1/service").json()["host"], "the host")
    one = "/v1/policies/{name}"
    equal("command line", ask(200, "GET", "/v1/policies").json()["policies"][0]["origin"], "where it is from")
    shown = ask(200, "GET", "/v1/policies/count", one).json()
    equal(["calm", "deep"], [level["name"] for level in shown["levels"]], "the levels")
    equal("vb", shown["attachments"][0]["iface"], "the interface")
    for part in "probes", "levels", "rules", "sets", "options", "windows", "transitions", "errors":
        ask(200, "GET", "/v1/policies/count/" + part, one + "/" + part)
    equal({"members": ["192.0.2.7", "192.0.2.8"]}, ask(200, "GET", "/v1/policies/count/sets/own", one + "/sets/{set}").json(), "the set")
    ask(404, "GET", "/v1/policies/count/sets/other", one + "/sets/{set}")
    equal(text, ask(200, "GET", "/v1/policies/count/source", one + "/source").body.decode(), "the source")
    # What is sent is in the windows, once.
    world.send(1000)
    total, last = 0, None
    drained = ask(200, "POST", "/v1/policies/count/drain", one + "/drain").json()
    equal("here", drained["window"]["host"], "the label of a window")
    records = ask(200, "GET", "/v1/policies/count/records", one + "/records").json()
    equal(["totals"], [r["probe"] for r in records["records"]], "the probes of the records")
    until(lambda: daemon.get("/v1/policies/count/windows")["windows"][-1]["seq"] > drained["window"]["seq"], "the next window")
    for window in ask(200, "GET", "/v1/policies/count/windows?limit=256", one + "/windows").json()["windows"]:
        if last is not None:
            equal(last + 1, window["seq"], "the number of a window")
        last, total = window["seq"], total + window["packets"]
    equal(1000, total, "the packets of all windows")
    # Levels.
    level = one + "/level"
    ask(200, "PUT", "/v1/policies/count/level", level, body={"level": "deep", "for": "10m"})
    until(lambda: daemon.policy("count")["level"] == "deep", "the forced level")
    equal("operator", daemon.policy("count")["claims"][0]["who"], "who forces it")
    ask(404, "PUT", "/v1/policies/count/level", level, body={"level": "deeper"})
    ask(400, "PUT", "/v1/policies/count/level", level, body={"level": "deep", "for": "long"})
    ask(400, "PUT", "/v1/policies/count/level", level, body={"level": "deep", "until": "10m"})
    ask(204, "DELETE", "/v1/policies/count/level", level)
    until(lambda: daemon.policy("count")["level"] == "calm", "the level that was let go")
    moves = [(t["from"], t["to"]) for t in daemon.get("/v1/policies/count/transitions")["transitions"]]
    equal([("calm", "deep"), ("deep", "calm")], moves, "the transitions")
    # Create, replace, delete.
    ask(409, "PUT", "/v1/policies/count", one, body=WORDS, kind="text/x-lua")
    ask(409, "DELETE", "/v1/policies/count", one)
    ask(201, "POST", "/v1/policies", body={"name": "other", "text": WORDS})
    ask(409, "POST", "/v1/policies", body={"name": "other", "text": WORDS})
    ask(400, "POST", "/v1/policies", body={"name": "../other", "text": WORDS})
    ask(200, "PUT", "/v1/policies/other", one, body=WORDS, kind="text/x-lua")
    ask(201, "PUT", "/v1/policies/third", one, body={"text": COUNT % "", "set": {"window": "50ms"}})
    equal({"window": "50ms"}, {o["name"]: o["value"] for o in daemon.policy("third")["options"] if o["name"] == "window"}, "the value")
    ask(415, "PUT", "/v1/policies/other", one, body=WORDS, kind="image/png")
    ask(204, "DELETE", "/v1/policies/other", one)
    ask(404, "GET", "/v1/policies/other", one)
    ask(404, "DELETE", "/v1/policies/other", one)
    ask(431, "GET", "/v1/service", headers={"X-Long": "a" * 28000})
    # The rest.
    ask(200, "GET", "/v1/templates")
    ask(200, "GET", "/v1/templates/flows", "/v1/templates/{name}")
    ask(404, "GET", "/v1/templates/flow", "/v1/templates/{name}")
    maps = ask(200, "GET", "/v1/maps").json()
    mine = [m["id"] for m in maps if m["name"] == "hook_totals"]
    entries = ask(200, "GET", "/v1/maps/%d?limit=1&fold=sum" % mine[0], "/v1/maps/{id}").json()
    equal(1, len(entries), "the entries of a map")
    ask(404, "GET", "/v1/maps/4294967295", "/v1/maps/{id}")
    ask(200, "GET", "/metrics")
    ask(200, "GET", "/open-metrics")
    ask(200, "POST", "/v1/reload")
    ask(200, "GET", "/v1/openapi.json")
    interface = ask.__self__
    everything = {(method, path) for path, item in interface.document["paths"].items() for method in item
                  if not path.startswith("/polycube/")}  # test_dynmon.py
    equal({("get", "/v1/stream")}, everything - interface.seen, "what of the document was not asked")
    equal(0, daemon.stop(), "the exit status")
    equal([], world.attached(), "what is still attached")


def a_failed_change_changes_nothing(world):
    daemon = Daemon(world)
    put = lambda text: daemon.ask("PUT", "/v1/policies/p", body=text, kind="text/x-lua")  # noqa: E731
    good = COUNT % ""
    equal(201, put(good).status, "the first")
    started = daemon.policy("p")["started"]
    wrong = [
        (good.replace("counter", "countr"), 422, r"p\.lua:6: unknown name \"countr\""),
        (good.replace('"vb"', '"nothere"'), 422, "nothere"),
        ("return 1", 422, "policy"),
        ("while true do end", 422, "did not finish loading"),
        ("", 422, "returns nothing"),
        (good.replace("always = {", 'always = { flows "big" { entries = 99999999999 },'), 422, r"p\.lua:6: .*too large"),
    ]
    for text, status, words in wrong:
        answer = put(text)
        equal(status, answer.status, "the status for: " + text[:60])
        if not re.search(words, answer.json()["detail"]):
            fail("%r says nothing of %s" % (answer.json()["detail"], words))
    shown = daemon.policy("p")
    equal((started, "running"), (shown["started"], shown["state"]), "the one that ran before")
    equal(good, daemon.ask("GET", "/v1/policies/p/source").body.decode(), "its text")
    equal(1, len(world.attached()), "what is attached")
    # Where there is room for one only, the old one comes back.
    xdp = COUNT.replace('"tc.ingress"', '"xdp"', 1)
    equal(200, put(xdp % "").status, "the one at XDP")
    equal(200, put(xdp.replace("100ms", "50ms") % "").status, "another one at XDP")
    equal(1, len(world.attached()), "what is attached at XDP")
    equal(0, daemon.stop(), "the exit status")


def what_was_created_is_there_after_a_restart(world):
    daemon = Daemon(world)
    # What no process can be given is refused, and that is all that it does.
    for values in ({"o%d" % i: i for i in range(2000)}, {"window": "70ms\0"}):
        equal(422, daemon.ask("PUT", "/v1/policies/kept", body={"text": COUNT % "", "set": values}).status, "the refusal")
    equal(201, daemon.ask("PUT", "/v1/policies/kept", body={"text": COUNT % "", "set": {"window": "70ms"}}).status, "the creation")
    equal(201, daemon.ask("PUT", "/v1/policies/gone", body={"text": COUNT % ""}).status, "another one's")
    equal(204, daemon.ask("DELETE", "/v1/policies/gone").status, "its end")
    equal(0, daemon.stop(signal.SIGINT), "the exit status")
    # What somebody else has put there is not started; nor is anything where others may put something.
    kept = world.path("state") + "/policies"
    with open(kept + "/planted.lua", "w", encoding="utf-8") as file:
        file.write(COUNT % "")
    os.chown(kept + "/planted.lua", 65534, 65534)
    os.chmod(kept, 0o777)
    open_to_all = Daemon(world)
    until(lambda: len(open_to_all.said("a kept policy is not started")) == 2, "the refusal of what is kept")
    equal([], open_to_all.get("/v1/policies")["policies"], "the policies")
    equal(0, open_to_all.stop(), "the exit status")
    os.chmod(kept, 0o700)
    os.rename(world.path("state"), world.path("moved"))
    os.symlink("moved", world.path("state"))
    again = Daemon(world)
    again.wait_for("kept")
    equal(["planted"], [line["policy"] for line in again.said("a kept policy is not started")], "what is not started")
    equal(["kept"], [p["name"] for p in again.get("/v1/policies")["policies"]], "the policies")
    equal(0.07, again.policy("kept")["levels"][0]["window_seconds"], "its window")
    # One that dies by itself is started again.
    before = again.policy("kept")["started"]
    os.kill(again.children()[0], signal.SIGKILL)
    until(lambda: again.policy("kept").get("started") != before and again.policy("kept")["state"] == "running", "the next life of the policy")
    equal(1, again.policy("kept")["restarts"], "the restarts")
    # And when the daemon is killed, nothing is left.
    pids = again.children()
    equal(-signal.SIGKILL, again.stop(signal.SIGKILL), "the end")
    for pid in pids:
        until(lambda pid=pid: not os.path.exists("/proc/%d" % pid), "the end of its processes")
    until(lambda: not world.attached(), "the end of its links")


def read_events(connection, count, name=None):
    """The next so many events of a stream: list of (name, value)."""
    events, fields = [], {}
    while len(events) < count:
        line = connection.readline().decode()
        if not line:
            fail("the stream ended")
        line = line.rstrip("\n")
        if line == "":
            if fields and (not name or fields["event"] == name):
                events.append((fields["event"], json.loads(fields["data"])))
            fields = {}
        elif not line.startswith(":"):
            key, value = line.split(": ", 1)
            fields[key] = value
    return events


def streams_what_happens(world):
    daemon = Daemon(world, world.write("count.lua", COUNT % ""))
    daemon.wait_for("count")

    def listen(query):
        one = daemon.connection()
        one.request("GET", "/v1/stream" + query)
        answer = one.getresponse()
        equal((200, "text/event-stream"), (answer.status, answer.getheader("Content-Type")), "the head of the stream")
        world.closers.append(one.close)
        return answer
    windows = listen("?events=window")
    both = listen("?policy=count&records=true")
    moves = listen("?events=transition")
    equal(400, daemon.ask("GET", "/v1/stream?events=windows").status, "an unknown event")
    equal(404, daemon.ask("GET", "/v1/stream?policy=nobody").status, "an unknown policy")
    first = [value["seq"] for _, value in read_events(windows, 3)]
    equal([first[0], first[0] + 1, first[0] + 2], first, "the numbers of windows")
    world.send(50)
    found = 0
    while found < 50:
        for _, value in read_events(both, 1, "records"):
            found += sum(row["packets"] for row in value["rows"])
    equal(50, found, "the packets in the stream's records")
    daemon.ask("PUT", "/v1/policies/count/level", body={"level": "deep"})
    equal("deep", read_events(moves, 1)[0][1]["to"], "the transition in the stream")
    # One that does not read loses events, and is the only one that does.
    deaf = socket.socket(socket.AF_UNIX)
    deaf.connect(daemon.socket)
    deaf.sendall(b"GET /v1/stream?records=true HTTP/1.1\r\nHost: x\r\n\r\n")
    world.closers.append(deaf.close)
    read_events(windows, 10)
    equal(0, daemon.stop(), "the exit status")


def broken_policies_and_reasons(world):
    """A policy of the command line that is wrong is shown as such, and the daemon goes on."""
    bad = world.write("bad.lua", "return policy \"bad\" { always = { countr {} } }")
    daemon = Daemon(world, bad)
    shown = daemon.wait_for("bad", "failed")
    if "unknown name" not in shown["failure"]:
        fail("what is wrong is not told: %r" % shown)
    equal("degraded", daemon.get("/v1/health")["status"], "the health")
    equal(503, daemon.ask("GET", "/v1/policies/bad/probes").status, "what it is asked")
    equal(0, daemon.stop(), "the exit status")


if __name__ == "__main__":
    main(lives_as_its_interface_says, a_failed_change_changes_nothing, what_was_created_is_there_after_a_restart, streams_what_happens,
         broken_policies_and_reasons)
