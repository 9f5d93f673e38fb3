# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""Policies of a daemon that are replaced while packets come: over the interface, by SIGHUP, by POST /v1/reload.

In place, every packet is counted once: the windows of each policy add up to the kernel's own counter. What is wrong leaves the old
one running, with the reason; what cannot be done in place is done beside it, and that is said.
"""
import http.client
import json
import os
import signal
import socket
import threading

from serve import COUNT, Daemon, equal, fail, main, until

RULE = 'rules = { rule "any" { when = rate("totals.packets"):above "1/s", clear = rate("totals.packets"):below "0/s", hold = "deep" } },'
OLD, NEW = (COUNT.replace('"100ms"', '"%dms"' % ms) % RULE for ms in (40, 50))


class Load:
    """Frames out of va, until it is stopped."""

    def __init__(self, world):
        self.world, self.over, self.failure = world, threading.Event(), None
        self.thread = threading.Thread(target=self.send)
        self.thread.start()
        world.closers.append(self.stop)

    def send(self):
        frame = bytes.fromhex("020000000002" "020000000001" "0800" "4500002e000040004011" "0000" "c0000201" "c0000202") + \
            bytes.fromhex("0400" "0009" "001a" "0000") + bytes(18)

        def out():
            with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
                link.bind(("va", 0))
                while not self.over.is_set():
                    for _ in range(50):
                        link.send(frame)
        try:
            self.world.there(out)
        except Exception as failure:  # pylint: disable=broad-except
            self.failure = failure

    def stop(self):
        self.over.set()
        self.thread.join()
        if self.failure:
            raise self.failure


class Windows:
    """Every window of a policy, as the daemon streams them."""

    def __init__(self, world, daemon, policy):
        self.list = []
        self.connection = daemon.connection()
        self.connection.request("GET", "/v1/stream?events=window,reload,transition&policy=" + policy)
        self.answer = self.connection.getresponse()
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()
        world.closers.append(self.connection.close)
        self.others = []

    def read(self):
        try:
            for line in self.answer:
                if line.startswith(b"data: "):
                    event = json.loads(line[6:])
                    (self.list if event["event"] == "window" else self.others).append(event)
        except (OSError, http.client.HTTPException, ValueError):
            pass  # it was closed

    def total(self, last):
        until(lambda: self.list and self.list[-1]["seq"] >= last, "window %d" % last)
        seqs = [window["seq"] for window in self.list]
        equal(list(range(seqs[0], seqs[-1] + 1)), seqs, "the numbers of the windows")
        return sum(window["packets"] for window in self.list)

    def count(self, name):
        return sum(event["event"] == name for event in self.others)


def counts_every_packet_once(world):
    fixed = world.write("fixed.lua", OLD)
    config = world.write("daemon.lua", 'return daemon { listen = { { unix = "daemon.sock" } },\n'
                         '  policies = { policy "fixed" { file = "fixed.lua" } } }')
    daemon = Daemon(world, "--config", config)
    daemon.wait_for("fixed")
    equal(201, daemon.ask("PUT", "/v1/policies/made", body={"text": OLD}).status, "the creation")
    windows = {name: Windows(world, daemon, name) for name in ("fixed", "made")}
    until(lambda: all(one.list for one in windows.values()), "the first windows")
    before, pids = world.received(), daemon.children()
    load = Load(world)
    until(lambda: all(daemon.policy(name)["level"] == "deep" for name in windows), "the deeper level")
    for i in range(1, 7):
        text = NEW if i % 2 else OLD
        answer = daemon.ask("PUT", "/v1/policies/made", body={"text": text})
        equal((200, {"in_place": True}), (answer.status, answer.json().get("replacement")), "the change: %r" % answer)
        equal(text, daemon.ask("GET", "/v1/policies/made/source").body.decode(), "its text")
        world.write("fixed.lua", text)
        if i % 3:
            os.kill(daemon.pid(), signal.SIGHUP)
        else:
            equal({"problems": [], "policies": [{"name": "fixed", "result": "replaced"}]}, daemon.ask("POST", "/v1/reload").json(),
                  "what a reload says")
        until(lambda i=i: len(daemon.said("reloaded")) >= i, "reload %d" % i)
    world.write("fixed.lua", "return 1")
    answer = daemon.ask("POST", "/v1/reload").json()
    if "fixed.lua" not in answer["problems"][0]:
        fail("it is not said what is wrong: %r" % answer)
    load.stop()
    arrived = world.received() - before
    if arrived < 5000:
        fail("only %d frames were sent" % arrived)
    for name, one in windows.items():
        last = daemon.ask("POST", "/v1/policies/%s/drain" % name).json()["window"]["seq"]
        equal(arrived, one.total(last), "the packets of all windows of " + name)
        equal((6, 1), (one.count("reload"), one.count("transition")), "reloads and transitions of " + name)
        print("%s: %d packets in %d windows, %d reloads" % (name, arrived, len(one.list), one.count("reload")))
    equal(pids, daemon.children(), "the processes")
    os.unlink(fixed)
    equal(0, daemon.stop(), "the exit status")
    equal([], world.attached(), "what is still attached")


def a_failed_one_changes_nothing(world):
    policy = world.write("count.lua", OLD)
    daemon = Daemon(world, policy)
    daemon.wait_for("count")
    equal(201, daemon.ask("PUT", "/v1/policies/made", body={"text": OLD}).status, "the creation")
    pids, started = daemon.children(), daemon.policy("made")["started"]
    for text, words in ((OLD.replace("counter", "countr"), 'made.lua:6: unknown name "countr"'), ("while true do end", "did not finish"),
                        (OLD.replace("always = {", 'always = { flows "big" { filter = "port nonsense" },'), "made.lua:6: ")):
        answer = daemon.ask("PUT", "/v1/policies/made", body={"text": text})
        equal((422, "application/problem+json"), (answer.status, answer.headers["Content-Type"]), "the answer")
        if words not in answer.json()["detail"]:
            fail("%r says nothing of %s" % (answer.json()["detail"], words))
        world.write("count.lua", text)
        os.kill(daemon.pid(), signal.SIGHUP)
        until(lambda: len(daemon.said("policy failed")) >= 1, "word in the log")
    equal(OLD, daemon.ask("GET", "/v1/policies/made/source").body.decode(), "its text")
    equal((started, pids), (daemon.policy("made")["started"], daemon.children()), "what ran before")
    equal(2, len(world.attached()), "what is attached")
    equal(0, daemon.stop(), "the exit status")


def what_the_configuration_says_comes_and_goes(world):
    world.write("a.lua", OLD)
    text = 'return daemon { listen = { { unix = "daemon.sock" } }, %s policies = { %s } }'
    config = world.write("daemon.lua", text % ("", 'policy "a" { file = "a.lua" }, policy "b" { file = "a.lua" }'))
    daemon = Daemon(world, "--config", config)
    daemon.wait_for("a")
    daemon.wait_for("b")
    world.write("daemon.lua", text % ('site = "here",', 'policy "a" { file = "a.lua", set = { window = "70ms" } }, policy "c" { file = "a.lua" }'))
    answer = daemon.ask("POST", "/v1/reload").json()
    equal([("a", "replaced"), ("b", "stopped"), ("c", "started")], [(one["name"], one["result"]) for one in answer["policies"]], "the policies")
    equal(["host and site: changed, which takes a new start of the daemon"], answer["problems"], "what has not changed")
    equal(["a", "c"], [one["name"] for one in daemon.get("/v1/policies")["policies"]], "the policies")
    equal(0.07, daemon.policy("a")["levels"][0]["window_seconds"], "the window")
    world.write("daemon.lua", "return daemon {")
    answer = daemon.ask("POST", "/v1/reload")
    equal(422, answer.status, "a configuration that is wrong")
    if "daemon.lua:" not in answer.json()["detail"]:
        fail("it is not said what is wrong: %r" % answer)
    os.kill(daemon.pid(), signal.SIGHUP)
    until(lambda: daemon.said("nothing is reloaded"), "word in the log")
    equal(2, len(world.attached()), "what is attached")
    equal(0, daemon.stop(), "the exit status")


def what_cannot_be_in_place_is_beside(world):
    daemon = Daemon(world)
    equal(201, daemon.ask("PUT", "/v1/policies/made", body={"text": OLD}).status, "the creation")
    answer = daemon.ask("PUT", "/v1/policies/made", body={"text": OLD, "set": {"mode": "clsact"}})
    equal(422, answer.status, "an option that there is not")
    generic = OLD.replace("hook = hook", 'hook = hook, mode = "clsact"')
    answer = daemon.ask("PUT", "/v1/policies/made", body={"text": generic})
    equal((200, False), (answer.status, answer.json()["replacement"]["in_place"]), "another mode")
    if "attach" not in answer.json()["replacement"]["why"]:
        fail("it is not said why: %r" % answer)
    equal(1, len(world.attached()), "what is attached")
    equal(0, daemon.stop(), "the exit status")


if __name__ == "__main__":
    main(counts_every_packet_once, a_failed_one_changes_nothing, what_the_configuration_says_comes_and_goes,
         what_cannot_be_in_place_is_beside)
