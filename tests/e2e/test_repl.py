# SPDX-License-Identifier: Apache-2.0
"""A person at the prompt of perilune repl, and in front of perilune top: typed on a pseudo-terminal, read off its screen."""
import datetime
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

PERILUNE = os.environ["PERILUNE"]
SOURCE = os.environ["PERILUNE_SOURCE"]
PATIENCE = float(os.environ.get("PATIENCE", "90"))  # seconds for anything that is waited for, on a busy machine
TAG = "pr%d" % os.getpid()


def run(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, text=True, **more).stdout


class Net:
    """Two namespaces with a pair of interfaces; traffic of a known amount goes from there to here."""

    def __enter__(self):
        self.here, self.there = TAG + "a", TAG + "b"
        for name in (self.here, self.there):
            run("ip", "netns", "add", name)
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
                "net.ipv6.conf.default.disable_ipv6=1")
        run("ip", "-n", self.here, "link", "add", "v0", "type", "veth", "peer", "name", "v1", "netns", self.there)
        run("ip", "-n", self.here, "addr", "add", "10.77.0.1/24", "dev", "v0")
        run("ip", "-n", self.there, "addr", "add", "10.77.0.2/24", "dev", "v1")
        for name, device in ((self.here, "v0"), (self.there, "v1")):
            run("ip", "-n", name, "link", "set", device, "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        mac = run("ip", "netns", "exec", self.here, "cat", "/sys/class/net/v0/address").strip()
        run("ip", "-n", self.there, "neigh", "replace", "10.77.0.1", "lladdr", mac, "dev", "v1")
        return self

    def __exit__(self, *_):
        for name in (self.here, self.there):
            for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], check=False)

    def send(self, packets):
        """UDP datagrams to a port that nobody listens on, of which the answers do not count."""
        script = (
            "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"for i in range({packets}):\n    s.sendto(b'x' * 72, ('10.77.0.1', 9))\n"
        )
        run("ip", "netns", "exec", self.there, "/usr/bin/python3", "-c", script)


class Terminal:
    """A process on a terminal of its own; `screen` is what it wrote since the last look, without escape sequences."""

    def __init__(self, argv, env, columns=100, rows=30):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(env)
            os.execvp(argv[0], argv)
        self.text = ""
        self.resize(columns, rows)

    def resize(self, columns, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.kill(self.pid, signal.SIGWINCH)

    def type(self, text):
        os.write(self.fd, text.encode())

    def _read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        text = data.decode("utf-8", "replace")
        self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]", "", text)
        return bool(data)

    def expect(self, pattern):
        """Waits until the screen shows the pattern; what comes up to its end is taken."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            found = re.search(pattern, self.text, re.S)
            if found:
                self.text = self.text[found.end():]
                return found
            if not self._read(0.2) and not re.search(pattern, self.text, re.S):
                break
        raise AssertionError(f"the screen never showed {pattern!r}; it shows:\n{self.text[-3000:]!r}")

    def shows(self, pattern):
        """Whether it has come; nothing is taken."""
        self._read(0.2)
        return re.search(pattern, self.text, re.S)

    def line(self, text, pattern=None):
        self.type(text + "\r")
        return self.expect(pattern) if pattern else None

    def ended(self):
        """Its exit status, once it has ended by itself."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self._read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
        raise AssertionError("it did not end; it shows:\n" + self.text[-3000:])


def start(net, directory, *words):
    argv = ["ip", "netns", "exec", net.here, PERILUNE, *words]
    env = {"HOME": directory, "TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "1"}
    return Terminal(argv, env)


PROMPT = "perilune> $"


def a_window(t):
    """The next window of p to close: its number, and when that was, in seconds."""
    t.type(":json p:watch():times(1)\r")
    window = json.loads(t.expect(r"(\{[^\r\n]*\})\r\n.*perilune> $")[1])
    clock = datetime.datetime.fromisoformat(re.sub(r"(\.\d{6})\d*Z$", r"\1+00:00", window["time"]))
    return {"seq": window["seq"], "time": clock.timestamp()}


def exploring(net, directory):
    t = start(net, directory, "repl")
    t.expect(PROMPT)

    # Completion: a key of the body, an interface with its quote, then a method.
    t.type('p = start(flows { key = "src", hook = "tc.ingress", ifa\t"v\t })\r')
    t.expect(r"attach v0 tc.ingress.*perilune> $")
    t.line("p:to\t(1)", r"(no rows|src ).*perilune> $")
    t.line('p:seri\t("packets")', r"peak .*last .*perilune> $")
    t.type("p:\t\t")
    t.expect(r"bars .*series .*top +watch")
    t.type("\x03")
    t.expect(r"\^C.*perilune> $")

    # What was sent is what is counted, while a line is half typed; and for ten seconds of that, windows close as before.
    before = a_window(t)
    t.type("half a line")
    net.send(500)
    time.sleep(10)
    t.type("\x03")
    t.expect(PROMPT)
    after = a_window(t)
    count, seconds = after["seq"] - before["seq"], after["time"] - before["time"]
    assert count > 7 and seconds / count < 1.5, f"{count} windows of 1 s in {seconds} s"
    net.send(300)

    # A feature comes and goes while packets do; what cannot be leaves everything as it was.
    t.line('p:enable "timing"', r"perilune> $")
    net.send(200)
    t.line("=p.features[1]", r"timing.*perilune> $")
    t.line('p:disable "timing"', r"perilune> $")
    net.send(100)
    t.line('p:enable "nonsense"', r'no feature "nonsense".*perilune> $')
    t.line("=#p.features", r"\r\n0\r\n.*perilune> $")
    t.line('p:set { key = "pair" }', r"perilune> $")
    t.line("=p.key_name", r"pair.*perilune> $")
    net.send(100)

    # A statement over several lines, an error that names its line, what is misspelt.
    t.line("for i = 1, 2 do", r"\.\.\.> $")
    t.line("  print(i * 111)", r"\.\.\.> $")
    t.line("end", r"111\r\n222\r\n.*perilune> $")
    t.line("local x = nil; x.y = 1", r"input \d+:1: .*nil value.*perilune> $")
    t.line("p:tpo(3)", r'did you mean "top".*perilune> $')
    t.line("=undefined_name", r'unknown name "undefined_name".*perilune> $')

    # Ctrl-C ends what runs, and not the probe.
    t.line("while true do pcall(error) end")
    time.sleep(0.3)  # that it is running cannot be seen; sooner would only make the test easier
    t.type("\x03")
    t.expect(r"interrupted.*perilune> $")
    t.line("p:watch()", r"window \d+ .*window \d+ ")
    t.type("\x03")
    t.expect(r"interrupted.*perilune> $")
    t.line("=#p:series() > 2", r"true.*perilune> $")

    # A narrower terminal cuts tables, and says so.
    t.resize(30, 24)
    t.line('templates()', r"flows +[^\n]{0,25}….*perilune> $")
    t.resize(100, 30)

    # For machines.
    t.line(":json {1, 2}", r"\[1,2\].*perilune> $")
    t.line(":csv p:rows()", r"src,dst,ip_version,packets.*perilune> $")

    # Kept as a policy.
    saved = os.path.join(directory, "saved.lua")
    t.line('rule "busy" { when = rate("flows.packets"):above "10k/s", act = { log } }', PROMPT)
    t.line(f'save "{saved}"', r"saved as .*1 probe, 1 rule.*perilune> $")
    t.line(f'save "{saved}"', r"exists.*perilune> $")
    run(PERILUNE, "check", saved)

    # The rest of the counts come with the end, which also says what was detached.
    t.line("totals = p:stop()", r"detach v0 tc.ingress.*perilune> $")
    t.line("=totals.packets - totals.loss.not_parsed", r"1200\r\n.*perilune> $")
    t.type("\x04")
    assert t.ended() == 0

    # Another session remembers the lines.
    t = start(net, directory, "repl")
    t.expect(PROMPT)
    t.line("\x1b[A", r'unknown name "totals".*perilune> $')
    t.line("p = start(flows { iface = 'v0' })", r"attach v0 tc.egress.*perilune> $")
    t.type("\x04")
    t.expect(r"detach v0 tc.ingress.*detach v0 tc.egress")
    assert t.ended() == 0
    history = os.path.join(directory, ".perilune_history")
    assert os.stat(history).st_mode & 0o777 == 0o600, "others can read what was typed"


def one_line(net, directory):
    words = ["ip", "netns", "exec", net.here, PERILUNE, "-e"]
    reader = subprocess.Popen(
        [*words, 'flows { key = "src", iface = "v0" }:watch("100ms"):where("bytes > 0"):top(5, "bytes"):json()'],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while "attach v0 tc.egress" not in reader.stderr.readline():
        pass
    net.send(50)
    counted = 0
    while counted < 50:
        line = reader.stdout.readline()
        assert line.startswith("{"), line
        counted += sum(row["packets"] for row in json.loads(line)["rows"] if row["src"] == "10.77.0.2")
    assert counted == 50, counted
    reader.send_signal(signal.SIGINT)
    reader.stdout.read()
    rest = reader.stderr.read()
    assert "detach v0 tc.ingress" in rest, rest
    assert reader.wait(PATIENCE) in (0, 1)
    failed = subprocess.run([*words, "flows { key = 'nonsense' }"], capture_output=True, text=True, check=False)
    assert failed.returncode == 1 and failed.stderr.startswith("perilune: -e:1: flows: "), failed
    assert run(*words, "2 ^ 10") == "1024\n"


def screen(net, directory):
    policy = os.path.join(directory, "two.lua")
    with open(policy, "w", encoding="utf-8") as out:
        out.write('return policy "two" { attach = { iface = "v0" }, window = "200ms", always = { counter "all" {}, '
                  'flows "by_src" { key = "src" } }, levels = { level "calm" {}, level "close" { flows "to" { key = "dst" } } '
                  '}, rules = { rule "many" { when = rate("all.packets"):above "100/s", clear = '
                  'rate("all.packets"):below("50/s"):lasting "1s", hold = "close" } } }')
    t = start(net, directory, "top", policy)
    t.expect(r"two +v0 tc\.ingress \+ tc\.egress.*\[calm\].*q quit")
    net.send(2000)
    t.expect(r"\[close\].*why .*many")
    t.expect(r"by_src|to ")
    t.type("/src == \"10.77.0.2\"\r")
    t.expect(r'/ src == "10\.77\.0\.2"')
    t.type("p")
    t.type("?")
    t.expect("hold still")
    t.type("?")
    t.resize(40, 12)
    t.expect("q quit")
    t.type("q")
    t.expect(r"detach v0.*end .*packets")
    assert t.ended() == 0
    t = start(net, directory, "top", "--set", "iface=v0", "--set", "key=src")
    t.expect(r"flows .*packets/s")
    t.type("\x03")
    assert t.ended() == 0


def of_one_line(net, directory):
    """A policy, or probes, on the command line in the place of a file."""
    def perilune(*words):
        return subprocess.run(["ip", "netns", "exec", net.here, PERILUNE, *words], capture_output=True, text=True, check=False)
    done = perilune("run", "-e", 'flows "f" { key = "src" }', "--set", "iface=v0", "--for", "1s", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0 and events[0]["policy"] == "line", done
    assert any(e["event"] == "records" and e["probe"] == "f" for e in events), done
    done = perilune("check", "--no-cost", "-e", 'policy "x" {\n  attach = { iface = "v0" }, always = { countr {} } }')
    assert done.returncode == 2 and done.stderr.startswith('perilune: -e:2: unknown name "countr"'), done
    done = perilune("run", "-e", "1 +")
    assert done.returncode == 2 and done.stderr.startswith("perilune: -e:1: "), done
    done = perilune("replay", os.path.join(SOURCE, "tests/pcaps/dns53.pcap"), "--json", "-e", "counter {}")
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1])["packets"] == 1, done
    done = perilune("run", "--watch", "-e", "counter {}")
    assert done.returncode == 2 and "-e has no file" in done.stderr, done


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def light(net, directory):
    """With a thousand flows a window, the full screen takes less than two hundredths of a core: of CPU time, not of the clock."""
    script = ("import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\nwhile True:\n"
              "    for port in range(1000, 2000):\n        s.sendto(b'x' * 72, ('10.77.0.1', port))\n    time.sleep(0.9)\n")
    with subprocess.Popen(["ip", "netns", "exec", net.there, "/usr/bin/python3", "-c", script]) as sender:
        try:
            t = start(net, directory, "top", "--set", "iface=v0", "--set", "hook=tc.ingress")
            window = r"window ([\d,]+) of "
            t.expect(r"rows 1 to .* of 1,000")
            first, before = int(t.expect(window)[1]), cpu_seconds(t.pid)
            last = first
            while last < first + 15:
                last = int(t.expect(window)[1].replace(",", ""))
            share = (cpu_seconds(t.pid) - before) / (last - first)
        finally:
            sender.kill()
        print(f"top: {share * 100:.2f} % of a core over {last - first} windows")
        assert share < 0.02, share
        t.type("q")
        assert t.ended() == 0


def main():
    with Net() as net, tempfile.TemporaryDirectory() as directory:
        exploring(net, directory)
        one_line(net, directory)
        screen(net, directory)
        of_one_line(net, directory)
        if not os.environ.get("PERILUNE_SANITIZE"):  # which take most of the time themselves
            light(net, directory)


if __name__ == "__main__":
    sys.exit(main())
