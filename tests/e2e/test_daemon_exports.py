# SPDX-License-Identifier: Apache-2.0
# ctest: once
"""What the daemon writes of windows and records to files, sockets, syslog and its output: all of it, or it says how much not.

Judged by the numbers of windows, which have no gaps, by the packets sent, and by the schema of events.
"""
import json
import os
import socket
import threading

import jsonschema

from serve import COUNT, SOURCE, Daemon, equal, fail, main, until

with open(SOURCE + "/lua/perilune/event.schema.json") as file:
    SCHEMA = jsonschema.Draft202012Validator(json.load(file))


def configure(world, exports, window="100ms"):
    policy = world.write("count.lua", COUNT % "")
    return world.write("daemon.conf.lua", """return daemon {
  listen = { { unix = "daemon.sock" } }, host = "here",
  exports = { %s },
  policies = { policy "count" { file = "%s", set = { window = "%s" } } },
}""" % (exports, policy, window))


def start(world, exports, window="100ms"):
    daemon = Daemon(world, "--config", configure(world, exports, window))
    daemon.wait_for("count")
    return daemon


def events_of(lines, name=None):
    events = [json.loads(line) for line in lines]
    for event in events:
        SCHEMA.validate(event)
        equal("here", event["host"], "the label of an event")
    return [event for event in events if not name or event["event"] == name]


def without_gaps(windows):
    numbers = [window["seq"] for window in windows]
    equal(list(range(numbers[0], numbers[0] + len(numbers))), numbers, "the numbers of windows")


def metric(daemon, name, export):
    text = daemon.ask("GET", "/metrics").body.decode()
    line = next(line for line in text.splitlines() if line.startswith('%s{export="%s"}' % (name, export)))
    return int(line.split()[-1])


def files_turn_and_have_everything(world):
    daemon = start(world, 'export "all" { file = "events.jsonl", size = "8kB", keep = 50, events = { "window", "records", "transition" } }')
    path = world.path("events.jsonl")
    sent = 0
    while not os.path.exists(path + ".3"):
        world.send(10)
        sent += 10
    daemon.ask("PUT", "/v1/policies/count/level", body={"level": "deep"})
    until(lambda: daemon.policy("count")["level"] == "deep", "the level")
    world.send(10)
    sent += 10
    equal(0, daemon.stop(), "the exit status")
    names = sorted((name for name in os.listdir(world.directory) if name.startswith("events.jsonl.")), key=lambda n: -int(n.split(".")[-1]))
    lines = []
    for name in names + ["events.jsonl"]:
        with open(world.path(name)) as one:
            text = one.read()
        if len(text) > 8192 + 4096 or not text.endswith("\n"):
            fail("%s has %d bytes and ends in %r" % (name, len(text), text[-10:]))
        equal(0o600, os.stat(world.path(name)).st_mode & 0o777, "the mode of " + name)
        lines += text.splitlines()
    windows = events_of(lines, "window")
    without_gaps(windows)
    equal(sent, sum(window["packets"] for window in windows), "the packets of all windows")
    equal(sent, sum(row["packets"] for r in events_of(lines, "records") if r["probe"] == "totals" for row in r["rows"]), "those of the records")
    equal(["deep"], [move["to"] for move in events_of(lines, "transition")], "the transitions")


class Listener:
    """Somebody at a Unix socket who reads lines when told to."""

    def __init__(self, path, kind=socket.SOCK_STREAM):
        self.socket, self.kind, self.text = socket.socket(socket.AF_UNIX, kind), kind, b""
        self.socket.bind(path)
        self.path, self.one = path, None
        if kind == socket.SOCK_STREAM:
            self.socket.listen(5)

    def read(self, condition):
        """Reads until condition(lines), or without one until the daemon ends."""
        if not self.one:
            self.one = self.socket.accept()[0] if self.kind == socket.SOCK_STREAM else self.socket
        while not condition or not condition(self.lines()):
            text = self.one.recv(1 << 20)
            if not text and not condition:
                return
            if not text:
                fail("the daemon has closed the connection")
            self.text += text if self.kind == socket.SOCK_STREAM else text + b"\n"

    def lines(self):
        return self.text.decode().splitlines()[:-1]

    def close(self):
        if self.one:
            self.one.close()
        self.socket.close()
        os.unlink(self.path)


def sockets_and_syslog(world):
    peer, log = Listener(world.path("peer.sock")), Listener(world.path("log.sock"), socket.SOCK_DGRAM)
    daemon = start(world, """export "peer" { unix = "peer.sock", events = "window" },
        export "log" { syslog = "%s", facility = "local1", events = { "window", "transition" } },
        export "out" { stdout = true, events = "window" }""" % world.path("log.sock"))
    world.send(500)
    packets = lambda lines: sum(json.loads(line)["packets"] for line in lines)  # noqa: E731
    peer.read(lambda lines: packets(lines) >= 500)
    equal(500, packets(peer.lines()), "the packets that the peer was told of")
    without_gaps(events_of(peer.lines()))
    log.read(lambda lines: len(lines) > 3)
    head, text = log.lines()[1].split(": ", 1)
    # local1 is 17, info 6: 17 * 8 + 6.
    if not head.startswith("<142>") or not head.endswith(" perilune[%d]" % daemon.pid()):
        fail("syslog's line begins with %r" % head)
    events_of([text])
    until(lambda: [line for line in daemon.lines() if line.get("event") == "window" and line["packets"]], "windows in the output")
    # A peer that goes and comes back gets what was said meanwhile, from a whole line on.
    last = json.loads(peer.lines()[-1])["seq"]
    peer.close()
    until(lambda: daemon.said("an export's place takes nothing: what does not fit in its queue is lost"), "the daemon to notice")
    peer = Listener(world.path("peer.sock"))
    peer.read(lambda lines: len(lines) > 5)
    windows = events_of(peer.lines())
    without_gaps(windows)
    until(lambda: daemon.said("an export's place takes events again"), "the daemon to say so")
    # What the dead socket had taken already is the only thing that may be missing.
    if windows[0]["seq"] > last + 20:
        fail("windows between %d and %d were not kept" % (last, windows[0]["seq"]))
    equal(0, metric(daemon, "perilune_export_lost_total", "peer"), "what the daemon has lost")
    equal(0, daemon.stop(), "the exit status")
    for one in peer, log:
        one.close()


def who_does_not_read_loses_and_is_told(world):
    """A peer that does not read: no window waits for it, what is lost is counted, and sent and lost is all there was."""
    peer = Listener(world.path("peer.sock"))
    daemon = start(world, """export "peer" { unix = "peer.sock", queue = "64kB", policies = { "count" } },
        export "file" { file = "events.jsonl" }, export "nobody" { unix = "nobody.sock", policies = { "other" } }""", "10ms")
    until(lambda: metric(daemon, "perilune_export_lost_total", "peer") > 20, "the daemon to lose events")
    if not daemon.said("an export loses events"):
        fail("that events are lost is not said")
    lost = metric(daemon, "perilune_export_lost_total", "peer")
    reader = threading.Thread(target=lambda: peer.read(None), daemon=True)
    reader.start()
    until(lambda: daemon.said("an export loses no more events"), "the daemon to catch up")
    equal(0, metric(daemon, "perilune_export_lost_total", "nobody") + metric(daemon, "perilune_export_lost_total", "file"), "what others lost")
    equal(0, daemon.stop(), "the exit status")
    reader.join(10)
    told = [json.loads(line) for line in peer.text.decode().splitlines()]
    with open(world.path("events.jsonl")) as one:
        everything = one.read().splitlines()
    windows = events_of(everything, "window")
    without_gaps(windows)
    missing = len(everything) - len(told)
    if missing < lost:
        fail("%d events are missing, and %d were lost" % (missing, lost))
    last = daemon.said("an export loses no more events")[-1]["lost"]
    equal(missing, last, "the events that are missing, and those that the daemon says it has lost")


def what_is_reloaded(world):
    daemon = start(world, 'export "a" { file = "a.jsonl", events = "window" }')
    until(lambda: os.path.exists(world.path("a.jsonl")), "the first file")
    configure(world, 'export "b" { file = "b.jsonl", events = "records" }')
    equal(200, daemon.ask("POST", "/v1/reload").status, "the reload")
    until(lambda: os.path.exists(world.path("b.jsonl")) and os.path.getsize(world.path("b.jsonl")) > 0, "the second file")
    size = os.path.getsize(world.path("a.jsonl"))
    before = daemon.policy("count")["last_window_seq"]
    until(lambda: daemon.policy("count")["last_window_seq"] > before + 2, "more windows")
    equal(size, os.path.getsize(world.path("a.jsonl")), "the bytes of a file that nobody writes any more")
    equal(0, daemon.stop(), "the exit status")


if __name__ == "__main__":
    main(files_turn_and_have_everything, sockets_and_syslog, who_does_not_read_loses_and_is_told, what_is_reloaded)
