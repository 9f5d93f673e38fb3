# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 900
"""The daemon over TLS, with roles by client certificates: authorities and certificates are openssl's, the client is curl."""
import json
import os
import signal
import subprocess

from serve import COUNT, PATIENCE, PERILUNE, Daemon, equal, fail, main, until

PORT = 9443
CONFIGURATION = """return daemon {
  listen = {
    { unix = "%s" },
    { tcp = "0.0.0.0:%d", certificate = "server.pem", key = "server.key", clients = "ca.pem" },
  },
  credentials = "credentials",
  policies = { policy "count" { file = "count.lua" } },
}
"""
CREDENTIALS = """certificate watcher read
certificate operator operate
certificate boss admin
certificate lapsed admin
certificate server admin
"""


class Authority:
    """An authority in files called NAME.pem and NAME.key, which signs others."""

    def __init__(self, world, name):
        self.world, self.name = world, name
        self._openssl("req", "-x509", *self._key(name), "-days", "2", "-subj", "/CN=" + name, "-out", world.path(name + ".pem"))

    def _openssl(self, *words, **more):
        done = subprocess.run(["openssl", *words], capture_output=True, text=True, check=False, **more)
        if done.returncode:
            fail("openssl %s: %s" % (words[0], done.stderr))

    def _key(self, name):
        return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", self.world.path(name + ".key")]

    def sign(self, subject, usage="clientAuth", file=None, days="2"):
        path = self.world.path(file or subject)
        self._openssl("req", "-new", *self._key(file or subject), "-subj", "/CN=" + subject, "-out", path + ".csr")
        with open(path + ".ext", "w") as out:
            out.write("extendedKeyUsage=%s\nsubjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n" % usage)
        self._openssl("x509", "-req", "-in", path + ".csr", "-CA", self.world.path(self.name + ".pem"), "-CAkey",
                      self.world.path(self.name + ".key"), "-CAcreateserial", "-extfile", path + ".ext", "-days", days, "-out", path + ".pem")
        os.chmod(path + ".key", 0o600)


def curl(world, *words, who=None):
    """(curl's exit status, HTTP status, body)"""
    shown = ["--cert", world.path(who + ".pem"), "--key", world.path(who + ".key")] if who else []
    done = subprocess.run(["ip", "netns", "exec", world.netns, "curl", "-sS", "--max-time", str(PATIENCE), "-w", "\n%{http_code}", *shown,
                           *words], capture_output=True, text=True, check=False)
    body, _, status = done.stdout.rpartition("\n")
    return done.returncode, int(status or 0), body


def asks(world, expected, who, path, *words):
    """curl trusts the authority, and the daemon answers with this status; its JSON."""
    exit_status, status, body = curl(world, "--cacert", world.path("ca.pem"), *words, "https://127.0.0.1:%d%s" % (PORT, path), who=who)
    equal((0, expected), (exit_status, status), "%s asking %s (%s)" % (who, path, body))
    return json.loads(body) if body else None


def start(world):
    authority, others = Authority(world, "ca"), Authority(world, "others")
    authority.sign("server", usage="serverAuth")
    for who in "watcher", "operator", "boss", "stranger":
        authority.sign(who)
    others.sign("boss", file="false-boss")
    authority.sign("lapsed", days="-1")  # over since yesterday
    world.write("count.lua", COUNT % "")
    world.write("credentials", CREDENTIALS)
    daemon = Daemon(world, "--config", world.write("daemon.lua", CONFIGURATION % (world.path("d.sock"), PORT)))
    daemon.socket = world.path("d.sock")
    daemon.wait_for("count")
    return daemon


def roles_come_with_certificates(world):
    daemon = start(world)
    level = ["-X", "PUT", "-H", "Content-Type: application/json", "-d", '{"level":"deep"}']
    policy = ["-X", "PUT", "-H", "Content-Type: text/x-lua", "--data-binary", "@" + world.path("count.lua")]
    # Nobody may see that all is well, and nothing else.
    equal("ok", asks(world, 200, None, "/v1/health")["status"], "the health")
    asks(world, 401, None, "/v1/service")
    asks(world, 401, None, "/v1/nothing")
    # Each may what their role does.
    for who, role in ("watcher", "read"), ("operator", "operate"), ("boss", "admin"):
        equal({"name": who, "role": role, "by": "certificate"}, asks(world, 200, who, "/v1/service")["you"], who)
    said = asks(world, 403, "watcher", "/v1/policies/count/level", *level)["detail"]
    equal("watcher has the role read, and this takes operate", said, "what the watcher is told")
    asks(world, 403, "operator", "/v1/policies/other", *policy)
    asks(world, 200, "operator", "/v1/policies/count/level", *level)
    until(lambda: daemon.policy("count")["level"] == "deep", "the level")
    asks(world, 201, "boss", "/v1/policies/other", *policy)
    # A certificate without a role, of another authority, of the past, or not for clients, is none.
    said = asks(world, 401, "stranger", "/v1/service")["detail"]
    if "stranger" not in said:
        fail("the stranger is told %r" % said)
    for who in "false-boss", "lapsed", "server":
        exit_status, status, body = curl(world, "--cacert", world.path("ca.pem"), "https://127.0.0.1:%d/v1/service" % PORT, who=who)
        if exit_status == 0 and status != 401:
            fail("%s is answered %d: %s" % (who, status, body))
    # Roles that change are in force after a reload, for connections to come.
    world.write("credentials", CREDENTIALS.replace("watcher read", "watcher operate").replace("boss admin", "boss read"))
    os.kill(daemon.pid(), signal.SIGHUP)
    until(lambda: asks(world, 200, "watcher", "/v1/service")["you"]["role"] == "operate", "the new role")
    asks(world, 403, "boss", "/v1/policies/other", "-X", "DELETE")
    equal(0, daemon.stop(), "the exit status")


def perilune(world, *words):
    """(exit status, standard output, standard error)"""
    done = subprocess.run(["ip", "netns", "exec", world.netns, PERILUNE, *words], capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.returncode, done.stdout, done.stderr


def other(world, port, who, *words):
    """A server that is not perilune's, with that certificate."""
    served = subprocess.Popen(["ip", "netns", "exec", world.netns, "openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-www", "-tls1_3",
                               "-cert", world.path(who + ".pem"), "-key", world.path(who + ".key"), "-CAfile", world.path("ca.pem"), *words],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    world.closers.append(lambda: served.poll() is None and served.kill())
    while not served.stdout.readline().startswith(b"ACCEPT"):
        if served.poll() is not None:
            fail("openssl s_server ended with %d" % served.returncode)


def perilune_is_a_client_too(world):
    daemon = start(world)
    url = ["--server", "https://127.0.0.1:%d" % PORT]
    trusted = [*url, "--ca", world.path("ca.pem")]

    def with_certificate(who):
        return [*trusted, "--certificate", world.path(who + ".pem"), "--key", world.path(who + ".key")]
    status, out, err = perilune(world, "status", *with_certificate("watcher"))
    equal((0, ""), (status, err), "the exit status")
    if "you are watcher (read)" not in out or "count" not in out:
        fail("the status is %r" % out)
    equal(0, perilune(world, "level", "count", "deep", *with_certificate("operator"))[0], "the exit status of level")
    until(lambda: daemon.policy("count")["level"] == "deep", "the level")
    for words, expected, said in (
            (["level", "count", "calm", *with_certificate("watcher")], 3, "has the role read"),
            (["status", *trusted], 3, "takes a credential"),
            (["status", *url], 1, "its certificate is not trusted"),
            (["status", *url, "--ca", world.path("others.pem")], 1, "its certificate is not trusted"),
            (["status", "--server", "https://localhost:%d" % PORT, "--ca", world.path("ca.pem")], 1, "its certificate is not trusted"),
            (["status", *url, "--ca", world.path("ca.key")], 2, "no authority's certificate to trust")):
        status, _, err = perilune(world, *words)
        if status != expected or said not in err:
            fail("%s: %d, %r" % (" ".join(words), status, err))
    # Of another server: one that is not perilune's, one whose certificate is for clients, and one that wants a certificate, which TLS 1.3 has it say late.
    for port, who, words, said in ((9446, "server", [], "what listens there is not perilune's daemon"),
                                   (9444, "watcher", [], "its certificate is not trusted"),
                                   (9445, "server", ["-Verify", "1", "-verify_return_error"], "it refuses TLS with us: Certificate")):
        other(world, port, who, *words)
        status, _, err = perilune(world, "status", "--server", "https://127.0.0.1:%d" % port, "--ca", world.path("ca.pem"))
        if status != 1 or said not in err:
            fail("of %s, %s: %d, %r" % (who, words, status, err))
    # A long answer comes whole: more of it than a record of TLS holds.
    until(lambda: len(daemon.get("/v1/policies/count/windows?limit=256")["windows"]) >= 60, "sixty windows")
    status, out, _ = perilune(world, "events", "--windows", "--only", "window", "--last", "60", "--json", *with_certificate("watcher"))
    equal((0, 60), (status, len(out.splitlines())), "the windows")
    if len(out) < 32768:
        fail("an answer of only %d bytes" % len(out))
    equal(0, daemon.stop(), "the exit status")


def only_tls_is_spoken(world):
    daemon = start(world)
    url = "https://127.0.0.1:%d/v1/health" % PORT
    equal(60, curl(world, url)[0], "curl's exit status when it does not know the authority")
    equal(60, curl(world, "--cacert", world.path("others.pem"), url)[0], "and when it trusts another")
    equal(0, curl(world, "--cacert", world.path("ca.pem"), "--tlsv1.2", "--tls-max", "1.2", url)[0], "with TLS 1.2")
    equal(0, curl(world, "--cacert", world.path("ca.pem"), "--tlsv1.3", url)[0], "with TLS 1.3")
    if curl(world, "--cacert", world.path("ca.pem"), "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", url)[0] == 0:
        fail("TLS 1.1 is spoken")
    exit_status, status, _ = curl(world, url.replace("https", "http"))
    if exit_status == 0 and status < 400:
        fail("plain HTTP is answered: %d" % status)
    # Events stream through it too.
    stream = subprocess.Popen(["ip", "netns", "exec", world.netns, "curl", "-sSN", "--cacert", world.path("ca.pem"), "--cert",
                               world.path("watcher.pem"), "--key", world.path("watcher.key"),
                               "https://127.0.0.1:%d/v1/stream?events=window" % PORT], stdout=subprocess.PIPE)
    world.closers.append(lambda: stream.poll() is None and stream.kill())
    while not stream.stdout.readline().startswith(b"event: window"):
        if stream.poll() is not None:
            fail("the stream ended")
    equal(0, daemon.stop(), "the exit status")
    equal(0, stream.wait(PATIENCE), "curl's exit status at the end of the stream")


def the_open_is_refused(world):
    """Beyond loopback there is no listener without TLS, and none with TLS that nobody could use."""
    Authority(world, "ca").sign("server", usage="serverAuth")
    for listener, words in (
            ('{ tcp = "0.0.0.0:9443" }', "not without TLS"),
            ('{ tcp = "0.0.0.0:9443", certificate = "server.pem", key = "server.key" }', "nobody has a credential"),
            ('{ tcp = "127.0.0.1:9443", certificate = "server.pem", key = "ca.key", clients = "ca.pem" }', "key"),
            ('{ tcp = "0.0.0.0:9443", no_auth = true }', "on loopback only")):
        credentials = ', credentials = "credentials"' if "clients" in listener else ""
        world.write("credentials", CREDENTIALS)
        daemon = Daemon(world, "--config", world.write("bad.lua", "return daemon { listen = { %s }%s }" % (listener, credentials)),
                        name="refused", wait=False)
        status = daemon.process.wait(PATIENCE)
        if status == 0 or words not in daemon.text():
            fail("%s: %d, %s" % (listener, status, daemon.text()))


if __name__ == "__main__":
    main(roles_come_with_certificates, perilune_is_a_client_too, only_tls_is_spoken, the_open_is_refused)
