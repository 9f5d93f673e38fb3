# SPDX-License-Identifier: Apache-2.0
# ctest: timeout 900
"""Captures: what is in the files is what the suspects have sent, byte for byte, as Wireshark's own library reads it.

Live, frames go through a veth pair in a namespace of the test's own; in a replay, the frames of a capture have to come out again, with
their times. Nothing waits for a time, but for what is told.
"""
import ctypes
import json
import os
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time

PERILUNE = os.environ["PERILUNE"]
SOURCE = os.environ["PERILUNE_SOURCE"]
sys.path.insert(0, os.path.join(SOURCE, "tests", "e2e"))
sys.dont_write_bytecode = True
import schema  # noqa: E402

EVENTS = schema.Checker(schema.SCHEMA)
OUT = tempfile.mkdtemp(prefix="perilune-capture.", dir=os.environ.get("TMPDIR", "/tmp"))
DIR = os.path.join(OUT, "captures")
PATIENCE = 60
RUNNING = []

POLICY = """
return policy "watch" {
  attach = { iface = "vb", hook = "%(hook)s" },
  window = "100ms",
  captures = { dir = "%(dir)s", %(where)s },
  always = { flows "from" { key = "src" }, flows "to" { key = { "dport" } } },
  sets = { set "net" { of = "src", max = 10, members = { "192.0.2.0/25" } } },
  rules = { rule "seen" { %(per)s when = rate("%(when)s"):above "%(above)s", clear = rate("from.packets"):below("0/s"),
    act = capture { %(act)s } } },
}
"""


def fail(text):
    raise AssertionError(text)


def equal(expected, actual, what):
    if expected != actual:
        fail("%s: expected %s, got %s" % (what, str(expected)[:400], str(actual)[:400]))


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            fail("waited %d s for %s" % (PATIENCE, what))
        time.sleep(0.01)


def network():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000):  # CLONE_NEWNET
        fail("unshare: %s" % os.strerror(ctypes.get_errno()))
    for command in ("link add va arp off type veth peer name vb", "link set va arp off up", "link set vb arp off up"):
        subprocess.run(["ip", *command.split()], check=True)
    for name in ("va", "vb"):
        with open("/proc/sys/net/ipv6/conf/%s/disable_ipv6" % name, "w", encoding="ascii") as file:
            file.write("1")
        subprocess.run(["ethtool", "-K", name, "rxvlan", "off", "txvlan", "off"], check=False, capture_output=True)


def frame(source, number, size=60, tags=(), dport=9):
    """A UDP datagram of `source` (4 or 16 octets), told from others by its number."""
    mac = bytes.fromhex("020000000002" "020000000001") + b"".join(struct.pack("!HH", 0x8100, tag) for tag in tags)
    payload = struct.pack("!I", number) + bytes((number + i) & 255 for i in range(size))
    udp = struct.pack("!HHHH", 1024, dport, 8 + len(payload), 0) + payload
    if len(source) == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0) + source + socket.inet_aton("192.0.2.200")
        return mac + b"\x08\x00" + head + udp
    return mac + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + source + bytes.fromhex("20010db8") + bytes(11) + b"\x02" + udp


def v4(text):
    return socket.inet_aton(text)


def v6(text):
    return socket.inet_pton(socket.AF_INET6, text)


def send(frames, iface="va"):
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.bind((iface, 0))
        for one in frames:
            out.send(one)


def read(path):
    """[(time ns, frame, length on the wire)], by way of Wireshark's own reader."""
    plain = os.path.join(OUT, "plain.pcap")
    subprocess.run(["editcap", "-F", "nsecpcap", path, plain], check=True, capture_output=True)
    with open(plain, "rb") as file:
        data = file.read()
    equal(0xA1B23C4D, struct.unpack("<I", data[:4])[0], "the magic of %s" % path)
    at, out = 24, []
    while at < len(data):
        seconds, ns, kept, wire = struct.unpack("<IIII", data[at:at + 16])
        out.append((seconds * 10**9 + ns, data[at + 16:at + 16 + kept], wire))
        at += 16 + kept
    return out


# A disk that has stopped: what goes into a capture waits as long as the file HOLD is there.
STOPPED = r"""
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

ssize_t write(int fd, const void *bytes, size_t len)
{
	ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
	char link[64], path[4096] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, ".pcapng"))
		while (!access(getenv("HOLD"), F_OK))
			usleep(1000);
	return real(fd, bytes, len);
}
"""


class Run:
    def __init__(self, act, hook="tc.ingress", per='per = "from.src",', when="from.packets", above="0/s", where="", env=None):
        path = os.path.join(OUT, "policy.lua")
        with open(path, "w", encoding="utf-8") as out:
            out.write(POLICY % {"hook": hook, "dir": DIR, "where": where, "per": per, "when": when, "above": above, "act": act})
        self.process = subprocess.Popen([PERILUNE, "run", path, "--json"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        env=dict(os.environ, **(env or {})))
        RUNNING.append(self.process)
        self.events, self.lines = [], []
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        until(lambda: self.of("attach") or self.process.poll() is not None, "the start")
        equal(None, self.process.poll(), "whether it runs")

    def read(self):
        for line in self.process.stdout:
            self.lines.append(line)
            self.events.append(json.loads(line))

    def of(self, kind):
        return [event for event in list(self.events) if event["event"] == kind]

    def begun(self, count):
        until(lambda: len([e for e in self.of("action") if e["act"] == "capture" and not e["undo"]]) >= count, "captures")
        self.more(1)  # it is said before it is done

    def more(self, count=2):
        before = len(self.of("window"))
        until(lambda: len(self.of("window")) >= before + count, "windows")

    def stop(self, asked=False):
        """`asked`: it has been told to end."""
        if not asked:
            self.process.send_signal(signal.SIGINT)
        until(lambda: self.process.poll() is not None, "the end")
        self.reader.join()
        RUNNING.remove(self.process)
        equal(0, self.process.returncode, "the exit status")
        equal([], [text for line in self.lines if b'"event":"records"' not in line for text in EVENTS.problems(line.decode())][:3],
              "events against the schema")
        return {event.get("key"): event for event in self.of("capture")}


def fresh():
    shutil.rmtree(DIR, True)


SUSPECTS = {"10.0.0.1": v4("10.0.0.1"), "fd00::1": v6("fd00::1")}


def test_suspects():
    """Only of the suspect, all of it, with tags, big and small."""
    for hook in ("tc.ingress", "xdp"):
        fresh()
        run = Run('of = "src"', hook=hook)
        send([frame(source, 0) for source in SUSPECTS.values()])
        run.begun(2)
        sent = {key: [] for key in SUSPECTS}
        mixed = []
        for number in range(1, 61):
            for key, source in SUSPECTS.items():
                one = frame(source, number, size=(number * 37) % 1400, tags=[(), (7,), (7, 9)][number % 3])
                sent[key].append(one)
                mixed += [one, frame(v4("10.0.0.99"), number)]
        before = time.time_ns()
        send(mixed)
        run.more()
        ends = run.stop()
        after = time.time_ns()
        for key, frames in sent.items():
            end = ends[key]
            got = read(end["file"])
            equal(frames, [one for _, one, _ in got], "%s: frames of %s" % (hook, key))
            equal([len(one) for one in frames], [wire for _, _, wire in got], "lengths")
            equal((60, 0, "cleared"), (end["packets"], end["lost"], end["why"]), "the event")
            times = [at for at, _, _ in got]
            equal(times, sorted(times), "the order of times")
            if times[0] < before - 10**7 or times[-1] > after + 10**7:
                fail("times are not of the wall clock: %d to %d, sent %d to %d" % (times[0], times[-1], before, after))
            equal(0o600, stat.S_IMODE(os.stat(end["file"]).st_mode), "the mode")
            name = os.path.basename(end["file"])
            if not name.startswith("watch_seen_%s_2" % key.replace(":", "-")) or not name.endswith("Z.pcapng"):
                fail("the name of a file: %s" % name)
            fields = subprocess.run(["tshark", "-r", end["file"], "-T", "fields", "-e", "frame.interface_name", "-e",
                                     "frame.packet_flags_direction"], capture_output=True, check=True, text=True).stdout
            equal({"vb\t1", "vb\t0x00000001"} & set(fields.split("\n")), set(fields.split("\n")) - {""}, "interface and direction")
            info = subprocess.run(["capinfos", end["file"]], capture_output=True, check=True, text=True).stdout
            for words in ("nanoseconds (9)", "Name = vb", "Number of packets = 60", "policy watch, rule seen"):
                if words not in info:
                    fail("capinfos does not say %s:\n%s" % (words, info))
        equal(0, sum(e["loss"]["ring_full"] for e in run.of("window")), "the ring's loss")


def test_both_ways():
    fresh()
    run = Run("", hook="tc")
    send([frame(v4("10.0.0.1"), 0)])
    run.begun(1)
    out = [frame(v4("10.0.0.1"), number) for number in range(1, 4)]
    back = bytearray(frame(v4("192.0.2.200"), 9))
    back[30:34] = v4("10.0.0.1")
    send(out)
    send([bytes(back)], "vb")
    run.more()
    ends = run.stop()
    fields = subprocess.run(["tshark", "-r", ends["10.0.0.1"]["file"], "-T", "fields", "-e", "frame.packet_flags_direction"],
                            capture_output=True, check=True, text=True).stdout.split()
    equal([1, 1, 1, 2], [int(field, 0) for field in fields], "directions")


def test_bounds():
    source = v4("10.0.0.1")
    for act, count, why, kept in (("packets = 7", 7, "packets", None), ('bytes = "64kiB"'.replace("kiB", "KiB"), None, "bytes", None),
                                  ('snap = "64B"', 200, "cleared", 64)):
        fresh()
        run = Run(act)
        send([frame(source, 0)])
        run.begun(1)
        sent = [frame(source, number, size=1000) for number in range(1, 201)]
        send(sent)
        if why != "cleared":
            until(lambda: run.of("capture"), "its end")
        run.more()
        end = run.stop()["10.0.0.1"]
        got = read(end["file"])
        equal(why, end["why"], "what ended it (%s)" % act)
        equal([one[:kept] for one in sent[:len(got)]], [one for _, one, _ in got], "frames (%s)" % act)
        equal(end["packets"], len(got), "packets (%s)" % act)
        if count:
            equal(count, len(got), "how many (%s)" % act)
        elif os.stat(end["file"]).st_size > 65536 or len(got) < 50:
            fail("%d packets in %d bytes" % (len(got), os.stat(end["file"]).st_size))
    fresh()
    run = Run('lasting = "300ms"')
    send([frame(source, 0)])
    run.begun(1)
    until(lambda: run.of("capture"), "its end")
    equal("time", run.of("capture")[0]["why"], "what ended it")
    run.stop()


def test_loss():
    """What finds no room in the ring is counted: in the file, in the event, in the windows."""
    fresh()
    source = v4("10.0.0.1")
    run = Run('packets = 100000, bytes = "1GB"')
    send([frame(source, 0)])
    run.begun(1)
    os.kill(run.process.pid, signal.SIGSTOP)
    sent = [frame(source, number, size=1400) for number in range(1, 6001)]
    send(sent)  # about twice what there is room for
    os.kill(run.process.pid, signal.SIGCONT)
    run.more(3)
    end = run.stop()["10.0.0.1"]
    got = [one for _, one, _ in read(end["file"])]
    if not end["lost"]:
        fail("nothing is said to be lost of %d packets, %d are there" % (len(sent), len(got)))
    equal(len(sent), len(got) + end["lost"], "what is there and what is lost")
    equal(sent[:len(got)], got, "the frames that found room")
    equal(end["lost"], sum(event["loss"]["ring_full"] for event in run.of("window")), "the windows' loss")
    info = subprocess.run(["tshark", "-r", end["file"], "-q", "-z", "io,stat,0"], capture_output=True, check=True)
    equal(0, info.returncode, "tshark")
    with open(end["file"], "rb") as file:
        data = file.read()
    # isb_ifdrop (5), 8 octets, in the last block
    at = data.rfind(struct.pack("<HH", 5, 8))
    equal(end["lost"], struct.unpack("<Q", data[at + 4:at + 12])[0], "the file's statistics")


def test_stopped_disk():
    """No window waits for the disk when a capture ends, and its end is told when the file is complete; so when all ends."""
    library, hold = os.path.join(OUT, "stopped.so"), os.path.join(OUT, "hold")
    subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, "-xc", "-"], input=STOPPED, text=True, check=True)
    env = {"LD_PRELOAD": library, "HOLD": hold, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}
    source = v4("10.0.0.1")
    sent = [frame(source, number) for number in range(1, 8)]
    for leave in (False, True):
        fresh()
        with open(hold, "w", encoding="ascii"):
            pass
        run = Run('packets = 7, of = "src"', env=env)
        send([frame(source, 0)])
        run.begun(1)
        send(sent)
        run.more(5)
        equal([], run.of("capture"), "ends that are told, of a file that is not complete")
        equal([0], [os.stat(os.path.join(DIR, name)).st_size for name in os.listdir(DIR)], "what is in the files")
        if leave:
            run.process.send_signal(signal.SIGINT)
            windows = len(run.of("window"))
            until(lambda: len(run.of("window")) > windows, "the last window")
        os.unlink(hold)
        until(lambda: run.of("capture"), "its end")
        end = run.stop(asked=leave)["10.0.0.1"]
        equal(sent, [one for _, one, _ in read(end["file"])], "the frames")
        equal((7, 0, "packets"), (end["packets"], end["lost"], end["why"]), "the event")
        if os.stat(end["file"]).st_size <= end["bytes"]:
            fail("%s lacks its statistics" % end["file"])
        equal("summary", run.events[-1]["event"], "the last event")


def test_set_and_everything():
    fresh()
    run = Run('set = "net"', per="")
    send([frame(v4("10.0.0.1"), 0)])
    run.begun(1)
    mine = [frame(v4("192.0.2.%d" % n), n) for n in (1, 127)]
    send(mine + [frame(v4("192.0.2.128"), 1), frame(v4("10.0.0.1"), 1)])
    run.more()
    equal(mine, [one for _, one, _ in read(run.stop()[None]["file"])], "what is in the set")
    fresh()
    run = Run("", per='per = "to.dport",', when="to.packets")
    send([frame(v4("10.0.0.1"), 0, dport=53)])
    run.begun(1)
    mine = [frame(v4("10.0.0.%d" % n), n, dport=53) for n in (1, 2)]
    send([frame(v4("10.0.0.1"), 7, dport=54), *mine])
    run.more()
    equal(mine, [one for _, one, _ in read(run.stop()["53"]["file"])], "what goes to a port")


def test_room():
    """Many captures at once, and a directory that is full."""
    fresh()
    run = Run('bytes = "64KiB"', where='total = "200KiB",')
    for number in range(5):
        send([frame(v4("10.0.1.%d" % number), 0)])
        run.begun(number + 1)
        send([frame(v4("10.0.1.%d" % number), n, size=1000) for n in range(100)])
        until(lambda: len(run.of("capture")) > number, "its end")
    run.stop()
    left = sorted(os.listdir(DIR))
    if sum(os.stat(os.path.join(DIR, name)).st_size for name in left) > 200 * 1024 or not any("10.0.1.4" in name for name in left) \
            or any("10.0.1.0" in name for name in left):
        fail("what is left: %s" % left)
    run = Run('bytes = "64KiB"', where='total = "200KiB", full = "refuse",')
    send([frame(v4("10.0.2.1"), 0)])
    until(lambda: run.of("error"), "an error")
    if "is full" not in run.of("error")[0]["message"]:
        fail("the error: %s" % run.of("error")[0])
    run.stop()
    equal(left, sorted(os.listdir(DIR)), "what is left")
    fresh()
    run = Run("")
    send([frame(v4("10.0.3.%d" % number), 0) for number in range(40)])
    until(lambda: run.of("error"), "an error")
    if "32 captures go on already" not in run.of("error")[0]["message"]:
        fail("the error: %s" % run.of("error")[0])
    equal(1, len(run.of("error")), "errors")
    equal(32, len(run.stop()), "captures")


def send_uncut(source, payload, segment, iface="va"):
    """One TCP packet that the device is to cut into segments of so many octets, as a stack with offloads hands it down."""
    tcp = struct.pack("!HHIIBBHHH", 1024, 9, 1, 1, 0x50, 0x10, 1000, 0, 0)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 40 + len(payload), 0, 0x4000, 64, 6, 0) + source + socket.inet_aton("192.0.2.200")
    one = bytes.fromhex("020000000002" "020000000001" "0800") + head + tcp + payload
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.setsockopt(263, 15, 1)  # SOL_PACKET, PACKET_VNET_HDR
        out.bind((iface, 0))
        # struct virtio_net_hdr: its checksum is yet to be made, TCP over IPv4, headers, segments, where the checksum is
        out.send(struct.pack("<BBHHHH", 1, 1, 54, segment, 34, 16) + one)
    return one


def test_uncut():
    """What offloads have not cut apart is one packet in the file, with its length, and says how many it is on the wire."""
    payload = bytes(i & 255 for i in range(7500))
    for snap, kept in (("16kB", 54 + len(payload)), ("128B", 128)):
        fresh()
        run = Run('of = "src", snap = "%s"' % snap)
        send([frame(v4("10.0.0.1"), 0)])
        run.begun(1)
        one = send_uncut(v4("10.0.0.1"), payload, 1000)
        run.more()
        end = run.stop()["10.0.0.1"]
        said = subprocess.run(["tshark", "-r", end["file"], "-T", "fields", "-e", "frame.len", "-e", "frame.cap_len", "-e",
                               "frame.comment"], capture_output=True, check=True, text=True).stdout.splitlines()
        equal(1, len(said), "packets")
        length, captured, comment = said[0].split("\t")
        equal((len(one), kept), (int(length), int(captured)), "snap %s: its length, and what is kept" % snap)
        if not comment.startswith("8 packets on the wire"):
            fail("what is said of it: %r" % comment)
        got = read(end["file"])[0][1]
        equal(one[:50] + one[52:kept], got[:50] + got[52:], "the frame but its checksum")


def test_replay():
    for name in ("http_get.pcap", "q-in-q.pcap", "http_bro.org.pcap", "icmp_5-pings.pcap", "tunnels_vxlan.pcap", "wikipedia.pcap"):
        fresh()
        path = os.path.join(OUT, "policy.lua")
        with open(path, "w", encoding="utf-8") as out:
            out.write((POLICY % {"hook": "tc.ingress", "dir": DIR, "where": "", "per": "", "when": "from.skbs", "above": "0/s",
                                 "act": 'packets = 1000000, bytes = "1GB", lasting = "1h"'}).replace("100ms", "5ms"))
        source = os.path.join(SOURCE, "tests/pcaps", name)
        run = subprocess.run([PERILUNE, "replay", path, source, "--json"], check=True, capture_output=True)
        ends = [event for event in map(json.loads, run.stdout.splitlines()) if event["event"] == "capture"]
        frames = read(source)
        got = read(ends[0]["file"]) if ends else []
        if len(ends) != 1 or not got:
            fail("%s: %d captures, %d packets" % (name, len(ends), len(got)))
        equal(frames[len(frames) - len(got):], got, "%s: the frames from when the rule fires" % name)
        first = frames[len(frames) - len(got) - 1][0]
        if first - frames[0][0] > 10 * 10**6 and got[0][0] - frames[0][0] > 2 * 10**7 and len(got) < len(frames) // 2:
            fail("%s: it begins late" % name)


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
        print("test_capture.py: FAILED: %s" % error, file=sys.stderr)
        sys.exit(1)
