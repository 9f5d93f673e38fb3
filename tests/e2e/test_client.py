# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 900
"""The commands for people at the daemon: status, events, level, reload; what they show is held against the interface, asked by a
client that is not perilune's, and what they do against the policy itself."""
import json
import os
import re
import select
import signal
import subprocess

from schema import SCHEMA, Checker
from serve import COUNT, PATIENCE, PERILUNE, Daemon, equal, fail, main, until
from test_repl import Terminal


def perilune(world, *words, env=None, user=None):
    """(exit status, standard output, standard error)"""
    program = ["setpriv", "--reuid", user, "--clear-groups", world.for_anybody()] if user else [PERILUNE]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PERILUNE_SERVER")}
    done = subprocess.run(["ip", "netns", "exec", world.netns, *program, *words], capture_output=True, text=True, check=False,
                          timeout=PATIENCE, env=dict(environment, **(env or {})))
    return done.returncode, done.stdout, done.stderr


def says(expected_status, words, result, what):
    """It ends like this, and says these words: on standard error when it fails."""
    status, out, err = result
    equal(expected_status, status, "the exit status of %s (%s%s)" % (what, out, err))
    for word in words:
        if word not in (err if status else out):
            fail("%s: %r is not in %r" % (what, word, err if status else out))
    if status and not err.startswith("perilune: "):
        fail("%s: %r does not begin as errors do" % (what, err))


def people_see_and_do(world):
    daemon = Daemon(world, world.write("count.lua", COUNT % ""))
    daemon.wait_for("count")
    at = ["--socket", daemon.socket]
    until(lambda: daemon.get("/v1/policies/count/windows")["windows"], "a window")
    says(0, ["perilune ", "you are uid 0 (admin)", "count   running  calm", "vb tc.ingress"], perilune(world, "status", *at), "status")
    says(0, ["[calm]  deep", "vb tc.ingress (tcx)", "to  flows by dst", "window = 100ms"],
         perilune(world, "status", "count", *at), "status of one")
    shown = json.loads(perilune(world, "status", "--json", *at)[1])
    same = daemon.get("/v1/policies")["policies"][0]
    for name in "name", "state", "origin", "level", "levels", "attachments", "started", "restarts":
        equal(same[name], shown["policies"][0][name], name)
    status, out, err = perilune(world, "events", *at)
    says(0, ["nothing to tell yet"], (status, err, ""), "events before there are any")
    equal("", out, "what they are")
    # A level is held, for a time, and let go.
    says(0, ["count: held at deep for 10m 00s", "level count --release"], perilune(world, "level", "count", "deep", "--for", "10m", *at), "level")
    until(lambda: daemon.policy("count")["level"] == "deep", "the level")
    left = until(lambda: daemon.policy("count")["claims"], "who holds it")[0]["seconds_left"]
    if not 500 < left <= 600:
        fail("held for %r s more" % left)
    says(0, ["calm  [deep]", "somebody (perilune level) holds deep for "], perilune(world, "level", "count", *at), "who holds it")
    says(0, ["let go"], perilune(world, "level", "count", "--release", *at), "release")
    until(lambda: daemon.policy("count")["level"] == "calm", "the level that was let go")
    # What has been, and the lines of --json as the schema has them.
    says(0, ["count: ", "calm → deep", "deep → calm"], perilune(world, "events", *at), "events")
    status, out, _ = perilune(world, "events", "--json", "--windows", "--last", "50", *at)
    equal(0, status, "the exit status of events")
    checker = Checker(SCHEMA)
    for line in out.splitlines():
        equal([], checker.problems(line), "what the schema has against " + line)
    lines = [json.loads(line) for line in out.splitlines()]
    equal(sorted(line["time"] for line in lines), [line["time"] for line in lines], "the order of events")
    moves = [(line["from"], line["to"]) for line in lines if line["event"] == "transition"]
    equal([("calm", "deep"), ("deep", "calm")], moves, "the transitions")
    equal("calm\ndeep\n", perilune(world, "level", "count", "--names", *at)[1], "the names of levels")
    says(0, ["reloaded"], perilune(world, "reload", *at), "reload")
    # What cannot be says what to do.
    says(2, ['there is no policy cont (did you mean "count"?)'], perilune(world, "level", "cont", "deep", *at), "a wrong policy")
    says(2, ['there is no level "dep" (did you mean "deep"?)'], perilune(world, "level", "count", "dep", *at), "a wrong level")
    says(2, ["--for soon"], perilune(world, "level", "count", "deep", "--for", "soon", *at), "a wrong time")
    says(2, ['did you mean "transition"'], perilune(world, "events", "--only", "transitions", *at), "a wrong event")
    says(3, ["not permitted to connect"], perilune(world, "status", *at, user="65534"), "somebody else")
    says(1, ["no daemon listens at /nowhere", "perilune serve"], perilune(world, "status", "--socket", "/nowhere"), "no daemon")
    equal(0, daemon.stop(), "the exit status")
    says(1, ["no daemon listens"], perilune(world, "status", *at), "a daemon that has ended")


def events_are_followed(world):
    daemon = Daemon(world, world.write("count.lua", COUNT % ""))
    daemon.wait_for("count")
    follower = subprocess.Popen(["ip", "netns", "exec", world.netns, PERILUNE, "events", "-f", "--json", "--socket", daemon.socket],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    world.closers.append(lambda: follower.poll() is None and follower.kill())
    # It listens once something comes of it: levels are forced until then.
    seen = b""
    level = 0
    while b"\n" not in seen:
        level += 1
        daemon.ask("PUT", "/v1/policies/count/level", body={"level": ("deep", "calm")[level % 2]})
        if select.select([follower.stdout], [], [], 0.5)[0]:
            seen += os.read(follower.stdout.fileno(), 65536)
        if level > 100:
            fail("nothing is followed")
    first = json.loads(seen.split(b"\n")[0])
    equal("transition", first["event"], "the event")
    equal(0, daemon.stop(), "the exit status")
    equal(1, follower.wait(PATIENCE), "the exit status of the follower")
    if b"the daemon has ended" not in follower.stderr.read():
        fail("the end of the daemon is not told")
    # Ctrl-C is a good end, and so is a reader that has seen enough.
    again = Daemon(world, world.path("count.lua"))
    again.wait_for("count")
    follower = subprocess.Popen(["ip", "netns", "exec", world.netns, PERILUNE, "events", "-f", "--windows", "--socket", again.socket],
                                stdout=subprocess.PIPE)
    world.closers.append(lambda: follower.poll() is None and follower.kill())
    if b"window" not in follower.stdout.readline():
        fail("no window is followed")
    follower.send_signal(signal.SIGINT)
    equal(0, follower.wait(PATIENCE), "the exit status after Ctrl-C")
    follower = subprocess.Popen(["ip", "netns", "exec", world.netns, PERILUNE, "events", "-f", "--windows", "--socket", again.socket],
                                stdout=subprocess.PIPE)
    world.closers.append(lambda: follower.poll() is None and follower.kill())
    follower.stdout.readline()
    follower.stdout.close()
    equal(0, follower.wait(PATIENCE), "the exit status when nobody reads")
    equal(0, again.stop(), "the exit status")


def roles_are_kept(world):
    """Over TCP, a token says who one is; one that may only read is told what it lacks."""
    credentials = world.path("credentials")
    tokens = {}
    for role in "read", "operate":
        status, out, err = perilune(world, "token", role, "--role", role, "--credentials", credentials)
        equal(0, status, "the exit status of token: " + err)
        tokens[role] = world.write(role, out)
    daemon = Daemon(world, world.write("count.lua", COUNT % ""), "--listen", "127.0.0.1:9000,unix:" + world.path("d.sock"),
                    "--credentials", credentials)
    daemon.socket = world.path("d.sock")
    daemon.wait_for("count")
    url = ["--server", "http://127.0.0.1:9000"]
    says(0, ["you are read (read)"], perilune(world, "status", *url, "--token-file", tokens["read"]), "status with a token")
    says(3, ["takes a credential", "--token-file"], perilune(world, "status", *url), "status without one")
    says(3, ["has the role read, and this takes operate", "a token of that role"],
         perilune(world, "level", "count", "deep", *url, "--token-file", tokens["read"]), "a level with a token to read")
    with open(tokens["operate"]) as file:
        token = {"PERILUNE_TOKEN": file.read(), "PERILUNE_SERVER": url[1]}
    says(0, ["held at deep until it is let go"], perilune(world, "level", "count", "deep", env=token), "a level with one to operate")
    until(lambda: daemon.policy("count")["level"] == "deep", "the level")
    says(3, ["takes admin"], perilune(world, "reload", env=token), "reload with one to operate")
    equal(0, daemon.stop(), "the exit status")


def failures_are_seen(world):
    daemon = Daemon(world, world.write("bad.lua", "return policy \"bad\" { always = { countr {} } }"))
    daemon.wait_for("bad", "failed")
    status, out, _ = perilune(world, "status", "--socket", daemon.socket)
    equal(1, status, "the exit status of status")
    says(1, ["the policy bad does not run: it is failed"], perilune(world, "level", "bad", "--socket", daemon.socket), "its ladder")
    if "bad: " not in out or "unknown name \"countr\"" not in out:
        fail("why it failed is not told: " + out)
    equal(0, daemon.stop(), "the exit status")


def every_window_is_watched(world, t):
    """Thirty windows one after the other, and every packet that came in them."""
    t.line(':json edge:watch("to")')
    windows, sent = [], 0
    while len(windows) < 30 or sum(row["packets"] for window in windows for row in window["rows"] if row["dst"] == "192.0.2.2") < sent:
        windows.append(json.loads(t.expect(r"(\{[^\r\n]*\})\r\n")[1]))
        if len(windows) in (5, 6, 12):
            world.send(20)
            sent += 20
    t.type("\x03")
    t.expect(r"interrupted.*perilune> $")
    equal(list(range(windows[0]["seq"], windows[0]["seq"] + len(windows))), [window["seq"] for window in windows], "the windows")
    equal(sent, sum(row["packets"] for window in windows for row in window["rows"] if row["dst"] == "192.0.2.2"), "the packets")


def plain_top_has_every_window(world, daemon):
    with subprocess.Popen(["ip", "netns", "exec", world.netns, PERILUNE, "top", "--attach", "edge", "--socket", daemon.socket],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as top:
        numbers = []
        while len(numbers) < 30:
            found = re.search(r" window (\d+)  ", top.stdout.readline())
            if found:
                numbers.append(int(found[1]))
        top.send_signal(signal.SIGINT)
        equal(0, top.wait(PATIENCE), "the exit status of top")
    equal(list(range(numbers[0], numbers[0] + 30)), numbers, "the windows")


def at_the_prompt(world):
    """A session attaches, looks, holds a level, and leaves all running; so does the full screen."""
    members = 'sets = { set "own" { of = "src", max = 10, members = { "192.0.2.8", "192.0.2.7" } } },'
    daemon = Daemon(world, "edge=" + world.write("count.lua", COUNT % members))
    daemon.wait_for("edge")
    env = {"HOME": world.directory, "TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    words = ["ip", "netns", "exec", world.netns, PERILUNE]
    t = Terminal([*words, "repl", "--attach", "--socket", daemon.socket], env)
    t.expect(r"attached to .*: edge \(calm\).*perilune> $")
    t.line('edge:lev\t("de\t, "10m")', r"edge: .*calm → deep.*perilune> $")
    until(lambda: daemon.policy("edge")["level"] == "deep", "the level")
    t.line('edge:watch("to"):where("packets > 0"):times(1)', r"window \d+ +deep.*perilune> $")
    every_window_is_watched(world, t)
    t.line("edge:sets()", r"set +member\s+own +192\.0\.2\.7\s+own +192\.0\.2\.8\s.*perilune> $")
    t.line("edge:watch('to'):top(-1)", r"input \d+: top: how many rows.*perilune> $")
    t.line("edge:watch('to')", r"window \d+ +deep")
    t.type("\x03")
    t.expect(r"interrupted.*perilune> $")
    t.line("daemon:policies()", r"edge +running +deep.*perilune> $")
    t.line("edge:stop()", r"goes on without this session.*perilune> $")
    t.line("edge:level(false)", r"deep → calm.*perilune> $")
    t.line(":json edge:transitions():column 'to'", r'\["deep","calm"\].*perilune> $')
    t.type("\x04")
    t.expect(r"left running: edge \(perilune status\)")
    equal(0, t.ended(), "the exit status of the session")
    plain_top_has_every_window(world, daemon)
    t = Terminal([*words, "top", "--attach", "edge", "--socket", daemon.socket], env)
    t.expect(r"edge +vb tc\.ingress .*\[calm\].*q quit")
    daemon.ask("PUT", "/v1/policies/edge/level", body={"level": "deep"})
    t.expect(r"\[deep\].*to .*packets/s")
    t.type("q")
    equal(0, t.ended(), "the exit status of the screen")
    equal("running", daemon.policy("edge")["state"], "the policy afterwards")
    says(2, ["there is no policy nobody"], perilune(world, "top", "--attach", "nobody", "--socket", daemon.socket), "top of no policy")
    equal(0, daemon.stop(), "the exit status")


if __name__ == "__main__":
    main(people_see_and_do, at_the_prompt, events_are_followed, roles_are_kept, failures_are_seen)
