# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
"""Receivers: a real HTTP server and real commands are told what fires and what clears.

Everything runs in a network namespace of the test's own: frames from known sources go into one end of a veth pair, a policy
watches the other. The judge is what the server and the commands have received, and the schema of the bodies. No test waits for
a time, but for what is told.
"""
import ctypes
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

from jsonschema import Draft202012Validator

PERILUNE = os.environ["PERILUNE"]
SOURCE = os.environ["PERILUNE_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "e2e"))
sys.dont_write_bytecode = True
import schema  # noqa: E402

EVENTS = schema.Checker(schema.SCHEMA)
with open(os.path.join(SOURCE, "lua", "perilune", "notification.schema.json"), encoding="utf-8") as file:
    BODY = Draft202012Validator(json.load(file))
OUT = tempfile.mkdtemp(prefix="perilune-notify.", dir=os.environ.get("TMPDIR", "/tmp"))
PATIENCE = 60
SECRET = "s3cret\"with\\marks"
CLONE_NEWNET = 0x40000000
RUNNING = []

POLICY = """
return policy "watch" {
  attach = { iface = "vb", hook = "tc.ingress" },
  window = "100ms",
  always = { flows "from" { key = "src", entries = 16384 } },
  receivers = { receiver "soc" { %s } },
  rules = { rule "seen" { per = "from.src", when = rate("from.packets"):above "0/s",
    clear = rate("from.packets"):below("1/s"):lasting "%s", act = { notify "soc" } } },
  exports = { records "from" { top = { 1, "packets" } } },
}
"""


def fail(text):
    raise AssertionError(text)


def equal(expected, actual, what):
    if expected != actual:
        fail("%s: expected %s, got %s" % (what, expected, actual))


def until(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            fail("waited %d s for %s" % (seconds, what))
        time.sleep(0.01)


# ---------------------------------------------------------------------------------------------- traffic


def network():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        fail("unshare: %s" % os.strerror(ctypes.get_errno()))
    for command in ("link set lo up", "link add va arp off type veth peer name vb", "link set va arp off up",
                    "link set vb arp off up"):
        subprocess.run(["ip", *command.split()], check=True)
    for name in ("va", "vb"):
        with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % name, "w", encoding="ascii") as file:
            file.write("1")


def send(sources, times=1):
    """UDP from 10.x.y.z, by number, to nobody."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind(("va", 0))
        for _ in range(times):
            for number in sources:
                head = bytearray.fromhex("450000240000400040110000" "00000000" "c0000202" "040000090010" "0000")
                head[12:16] = (0x0A000000 + number).to_bytes(4, "big")
                out.send(bytes.fromhex("020000000002" "020000000001" "0800") + bytes(head) + bytes(24))


def name(number):
    return socket.inet_ntoa((0x0A000000 + number).to_bytes(4, "big"))


# ---------------------------------------------------------------------------------------------- receivers


class Server:
    """Answers what `answer(n)` says for its n-th request: a status, or None for never."""

    def __init__(self, answer=lambda n: 200, context=None):
        server = self
        self.requests, self.lock, self.answer = [], threading.Lock(), answer
        self.release = threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                lines = []
                for pid in os.listdir("/proc"):
                    if pid.isdigit():
                        for part in ("cmdline", "environ"):
                            try:
                                with open("/proc/%s/%s" % (pid, part), "rb") as of:
                                    lines.append((pid, of.read()))
                            except OSError:
                                pass
                with server.lock:
                    server.requests.append((self.path, dict(self.headers), body, lines))
                    status = server.answer(len(server.requests))
                if status is None:
                    server.release.wait()
                    return
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_):
                pass

        self.http = Quiet(("127.0.0.1", 0), Handler)
        if context:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def url(self, scheme="http"):
        return "%s://127.0.0.1:%d/hook?a=b" % (scheme, self.port)

    def alerts(self, status):
        with self.lock:
            bodies = [json.loads(request[2]) for request in self.requests]
        return [alert for body in bodies for alert in body["alerts"] if alert["status"] == status]

    def keys(self, status):
        return sorted(alert["labels"].get("key") for alert in self.alerts(status))

    def close(self):
        self.release.set()
        self.http.shutdown()
        self.http.server_close()


def valid(body):
    found = ["%s: %s" % (error.json_path, error.message) for error in BODY.iter_errors(json.loads(body))]
    equal([], found[:3], "a body against its schema")


class Run:
    """perilune run on a policy with this receiver, with its events as they come."""

    def __init__(self, receiver, *args, clear="300ms", env=None):
        self.path = os.path.join(OUT, "policy.lua")
        with open(self.path, "w", encoding="utf-8") as out:
            out.write(POLICY % (receiver, clear))
        self.err = tempfile.TemporaryFile(dir=OUT)  # noqa: SIM115
        self.process = subprocess.Popen([PERILUNE, "run", self.path, "--json", *args], stdout=subprocess.PIPE, stderr=self.err,
                                        stdin=subprocess.DEVNULL, env=dict(os.environ, **(env or {})))
        RUNNING.append(self.process)
        self.events, self.lines = [], []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        until(lambda: self.of("attach") or self.process.poll() is not None, "the start")
        if self.process.poll() is not None:
            fail("perilune ended at its start: %s" % self.errors())

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            self.events.append(json.loads(line))

    def errors(self):
        self.err.seek(0)
        return self.err.read().decode()

    def of(self, kind):
        return [event for event in list(self.events) if event["event"] == kind]

    def messages(self):
        return [event["message"] for event in self.of("error")]

    def wait_windows(self, more=2):
        before = len(self.of("window"))
        until(lambda: len(self.of("window")) >= before + more, "%d more windows" % more)

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self):
        until(lambda: self.process.poll() is not None, "the end")
        self.reader.join()
        RUNNING.remove(self.process)
        equal(0, self.process.returncode, "the exit status")
        some = [line for kind in {event["event"] for event in self.events}
                for line in [line for line in self.lines if b'"event":"%s"' % kind.encode() in line][:20]]
        equal([], [text for line in some for text in EVENTS.problems(line.decode())][:3], "events against the schema")
        windows = [event["seq"] for event in self.of("window")]
        equal(list(range(1, len(windows) + 1)), windows, "the windows")
        text = b"".join(self.lines).decode() + self.errors()
        if SECRET in text or "s3cret" in text:
            fail("the secret is printed")
        return self


# ---------------------------------------------------------------------------------------------- tests


def test_webhook():
    server = Server()
    token = os.path.join(OUT, "token")
    with open(token, "w", encoding="utf-8") as out:
        out.write(SECRET + "\n")
    run = Run('webhook = "%s", headers = { Authorization = { file = "%s", prefix = "Bearer " }, ["X-Team"] = "net" }'
              % (server.url(), token))
    send([1, 2, 3])
    until(lambda: len(server.keys("firing")) >= 3, "what fires")
    until(lambda: len(server.keys("resolved")) >= 3, "what is over")
    run.wait_windows()
    run.stop()
    equal([name(n) for n in (1, 2, 3)], server.keys("firing"), "what fires")
    equal([name(n) for n in (1, 2, 3)], server.keys("resolved"), "what is over")
    for path, headers, body, lines in server.requests:
        valid(body)
        equal("/hook?a=b", path, "the path")
        equal(("application/json", "Bearer " + SECRET, "net"),
              (headers["Content-Type"], headers["Authorization"], headers["X-Team"]), "headers")
        shown = [pid for pid, line in lines if b"s3cret" in line and int(pid) != os.getpid()]
        equal([], shown, "processes that show the secret")
        if not any(line.startswith(b"curl\0") for _, line in lines):
            fail("no curl among the processes, so nothing was looked at")
    rules = {(event["key"], event["state"]): event for event in run.of("rule")}
    for alert in server.alerts("resolved"):
        key = alert["labels"]["key"]
        fired, cleared = rules[key, "firing"], rules[key, "cleared"]
        equal((fired["time"], cleared["time"], fired["reason"], cleared["reason"], fired["values"]),
              (alert["startsAt"], alert["endsAt"], alert["annotations"]["summary"], alert["annotations"]["resolved"],
               alert["values"]), "a notification and its rule's events")
    equal(3, sum(event["firing"] for event in run.of("delivery")), "deliveries of what fires")
    equal(3, sum(event["resolved"] for event in run.of("delivery")), "deliveries of what is over")
    equal([], run.messages(), "errors")
    server.close()


def test_failing():
    server = Server(lambda n: 503 if n <= 2 else 200)
    run = Run('webhook = "%s", resolve = false' % server.url())
    send([1])
    until(lambda: run.of("delivery"), "a delivery")
    equal(3, run.of("delivery")[0]["attempts"], "attempts")
    equal(1, len({body for _, _, body, _ in server.requests}), "bodies of three attempts")
    equal(['receiver "soc": 1 notifications did not arrive: it answered 503'], run.messages(), "errors")
    server.answer = lambda n: 404
    send([2])
    until(lambda: len(run.messages()) >= 2, "an error")
    equal('receiver "soc": 1 notifications are lost: it answered 404 (1 attempts)', run.messages()[1], "what cannot be helped")
    server.answer = lambda n: 200
    send([3])
    until(lambda: len(run.of("delivery")) >= 2, "a delivery after that")
    run.stop()
    server.close()


def test_hanging():
    server = Server(lambda n: None)
    run = Run('webhook = "%s", timeout = "500ms", retries = 1' % server.url(), clear="1h")
    send([1])
    until(lambda: server.requests, "a request")
    run.wait_windows(3)  # while it hangs
    until(lambda: any("are lost" in text for text in run.messages()), "an error")
    equal(2, len(server.requests), "attempts")
    if not any("timed out" in text or "did not answer" in text for text in run.messages()):
        fail("no error says that it took too long: %s" % run.messages())
    run.stop()
    server.close()


def test_nobody_there():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        run = Run('webhook = "http://127.0.0.1:%d/", retries = 0' % unused.getsockname()[1], clear="1h")
        send([1])
        until(lambda: any("are lost" in text and "connect" in text.lower() for text in run.messages()), "an error")
        run.stop()


def test_command():
    page = os.path.join(OUT, "page")
    with open(page, "w", encoding="utf-8") as out:
        out.write("#!/bin/sh\ncat >>%s/$1\necho >>%s/$1\n" % (OUT, OUT))
    os.chmod(page, 0o755)
    run = Run('command = { "%s", "told" }' % page)
    send([7])
    until(lambda: sum(event["resolved"] for event in run.of("delivery")), "what is over")
    run.stop()
    with open(os.path.join(OUT, "told"), encoding="utf-8") as told:
        bodies = told.read().splitlines()
    for body in bodies:
        valid(body)
    equal([("firing", name(7)), ("resolved", name(7))],
          [(alert["status"], alert["labels"]["key"]) for body in bodies for alert in json.loads(body)["alerts"]], "what it got")


def test_commands_that_fail():
    run = Run('command = { "sh", "-c", "echo no such luck >&2; exit 3" }, retries = 0', clear="1h")
    send([1])
    until(run.messages, "an error")
    equal('receiver "soc": 1 notifications are lost: it ended with exit status 3: no such luck (1 attempts)', run.messages()[0],
          "the error")
    run.stop()
    mark = "98%d" % os.getpid()
    run = Run('command = { "sh", "-c", "sleep %s & sleep %s" }, timeout = "300ms", retries = 0' % (mark, mark), clear="1h")
    send([1])
    until(run.messages, "an error")
    equal('receiver "soc": 1 notifications are lost: it did not answer within 300ms (1 attempts)', run.messages()[0],
          "the error")
    left = subprocess.run(["pgrep", "-f", "sleep %s" % mark], capture_output=True, check=False).stdout
    equal(b"", left, "processes that are left")
    run.stop()
    run = Run('command = "/no/such/command", retries = 0', clear="1h")
    send([1])
    until(run.messages, "an error")
    if "/no/such/command" not in run.messages()[0]:
        fail("the error does not name the command: %s" % run.messages())
    run.stop()


def test_ten_thousand():
    server = Server()
    run = Run('webhook = "%s", group = "1s"' % server.url(), clear="1s")
    everybody = range(10000)
    send(everybody)
    until(lambda: len(server.keys("firing")) + len(server.keys("resolved")) >= 10000, "ten thousand", 120)
    # Those whose end came before they could be told of are told of once, as resolved.
    until(lambda: len(server.keys("resolved")) >= 10000, "the end of all", 120)
    run.stop()
    equal([name(n) for n in sorted(everybody, key=name)], server.keys("resolved"), "what is over")
    fired = server.keys("firing")
    equal(len(set(fired)), len(fired), "each is told of once")
    equal([], run.messages(), "errors")
    for _, _, body, _ in server.requests:
        valid(body)
    print("  10,000 instances in %d messages" % len(server.requests))
    server.close()


def test_dropped():
    server = Server()
    run = Run('webhook = "%s", queue = 100' % server.url(), clear="1h")
    send(range(1000))
    until(lambda: len(server.keys("firing")) >= 100, "a hundred")
    run.wait_windows()
    run.stop()
    equal(100, len(server.keys("firing")), "what fires")
    dropped = [int(text.split()[2]) for text in run.messages() if "were dropped" in text]
    equal(900, sum(dropped), "what was dropped, as errors say")
    equal(900, sum(json.loads(body)["truncatedAlerts"] for _, _, body, _ in server.requests), "and as the receiver is told")
    server.close()


def test_end():
    server = Server()
    run = Run('webhook = "%s", group = "1h"' % server.url(), clear="1h")
    send([1, 2])
    until(lambda: len([e for e in run.of("action") if e["act"] == "notify"]) >= 2, "what fires")
    equal(0, len(server.requests), "requests within the group's time")
    run.stop()
    equal([name(1), name(2)], server.keys("resolved"), "what ended with the run")
    equal({"seen %s: the run has ended" % name(1), "seen %s: the run has ended" % name(2)},
          {alert["annotations"]["resolved"] for alert in server.alerts("resolved")}, "why")
    equal("summary", run.events[-1]["event"], "the last event")
    server.close()
    server = Server(lambda n: None)
    run = Run('webhook = "%s", timeout = "5m"' % server.url(), clear="1h")
    send([1])
    until(lambda: server.requests, "a request")
    run.stop()
    equal(['receiver "soc": 2 notifications are lost: the time for the end is over'], run.messages(), "errors at the end")
    server.close()


def test_nothing_is_done():
    server = Server()
    run = Run('webhook = "%s"' % server.url(), "--dry-run")
    send([1])
    until(lambda: [e for e in run.of("action") if e["undo"]], "the end of it")
    run.stop()
    equal({True}, {e["dry_run"] for e in run.of("action")}, "that it is only said")
    equal(0, len(server.requests), "requests of a dry run")
    run = subprocess.run([PERILUNE, "replay", run.path, os.path.join(SOURCE, "tests/pcaps/icmp_5-pings.pcap"), "--json"],
                         check=True, capture_output=True)
    said = [event for event in map(json.loads, run.stdout.splitlines()) if event["event"] == "action"]
    equal({("notify", "soc", True)}, {(e["act"], e["text"], e.get("dry_run")) for e in said}, "the actions of a replay")
    equal(0, len(server.requests), "requests of a replay")
    server.close()


def test_tls():
    key, cert = os.path.join(OUT, "key.pem"), os.path.join(OUT, "cert.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = Server(context=context)
    run = Run('webhook = "%s", retries = 0' % server.url("https"), clear="1h")
    send([1])
    until(run.messages, "an error")
    if "certificate" not in run.messages()[0].lower():
        fail("the error does not speak of the certificate: %s" % run.messages())
    run.stop()
    equal(0, len(server.requests), "requests without trust")
    run = Run('webhook = { env = "HOOK" }', clear="1h",
              env={"CURL_CA_BUNDLE": cert, "HOOK": server.url("https") + "&" + SECRET.replace('"', "%22").replace("\\", "%5C")})
    send([1])
    until(lambda: run.of("delivery"), "a delivery with trust")
    run.stop()
    server.close()


def test_check():
    path = os.path.join(OUT, "check.lua")
    with open(path, "w", encoding="utf-8") as out:
        out.write(POLICY % ('command = "./no-such-page"', "1s"))
    done = subprocess.run([PERILUNE, "check", path], capture_output=True, check=False, text=True)
    equal(0, done.returncode, "the exit status of check")
    warning = ('perilune: %s:6: warning: receiver "soc": the command ./no-such-page cannot be run: No such file or directory '
               "(is the path right?)" % path)
    if warning not in done.stderr.split("\n"):
        fail("the warnings: %s" % done.stderr)


def main():
    network()
    try:
        for title, test in list(globals().items()):
            if title.startswith("test_") and (len(sys.argv) < 2 or title in sys.argv[1:]):
                print("--- %s" % title, flush=True)
                test()
    finally:
        for process in RUNNING:
            process.kill()
        shutil.rmtree(OUT, True)


if __name__ == "__main__":
    try:
        main()
    except AssertionError as error:
        print("test_notify.py: FAILED: %s" % error, file=sys.stderr)
        sys.exit(1)
