# SPDX-License-Identifier: Apache-2.0
# ctest: once
# ctest: timeout 900
"""The tutorial of the README, typed as it stands there: every line of output that it shows comes, with figures of its own."""
import os
import re
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import test_repl as repl  # noqa: E402

README = os.path.join(repl.SOURCE, "README.md")
SHELL = "tutorial# "


def steps():
    """[(prompt, typed lines, expected lines)] of all console blocks of the section."""
    with open(README, encoding="utf-8") as file:
        section = re.search(r"^## Ten minutes with it\n(.*?)^## ", file.read(), re.S | re.M).group(1)
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", section, re.S | re.M):
        for line in block.splitlines():
            prompt = re.match(r"(\$|perilune>) ", line)
            if prompt:
                found.append((prompt.group(1), [line[len(prompt.group(0)):]], []))
            elif line.startswith("> "):
                found[-1][1].append(line[2:])
            else:
                found[-1][2].append(line)
    return found


NUMBER = r"[0-9][0-9.,:]*"
PARTS = re.compile(r"127\.0\.0\.1|[0-9][0-9.,:]*( ?)([kMG]?(?:B|bit/s)|[mu]?s)\b|[0-9][0-9.,:]*| +")


def pattern(line):
    """A regular expression for the line, whatever its figures, the size of their units and its columns are."""
    out, at = [], 0
    for found in PARTS.finditer(line):
        out.append(re.escape(line[at:found.start()]))
        text, unit, at = found.group(0), found.group(2), found.end()
        if text == "127.0.0.1":
            out.append(re.escape(text))
        elif text.isspace():
            out.append(" +")
        elif not unit:
            out.append(NUMBER)
        else:
            base = unit.lstrip("kMGmu") or unit
            out.append(NUMBER + found.group(1) + ("[mu]?" if base == "s" else "[kMG]?") + re.escape(base))
    return "".join(out) + re.escape(line[at:])


def main():
    tutorial = steps()
    typed = sum(len(step[1]) for step in tutorial)
    assert typed >= 15, "only %d lines to type in the tutorial" % typed
    with repl.Net() as net, tempfile.TemporaryDirectory() as directory:
        os.symlink(repl.PERILUNE, os.path.join(directory, "perilune"))
        # A cache of its own: what was compiled before says "(cached)", and takes no time.
        env = {"HOME": directory, "PERILUNE_CACHE": directory + "/cache", "TERM": "xterm", "LC_ALL": "C.UTF-8", "NO_COLOR": "1",
               "PS1": SHELL, "PS2": "", "PATH": directory + ":" + os.environ["PATH"]}
        t = repl.Terminal(["ip", "netns", "exec", net.here, "sh", "-i"], env, columns=200)
        t.expect(re.escape(SHELL))
        t.line("cd " + directory, re.escape(SHELL))
        try:
            for prompt, lines, expected in tutorial:
                for line in lines:
                    t.type(line + "\r")
                for line in expected:
                    t.expect(pattern(line))
                leaves = lines[0] == "quit()" or prompt == "$" and lines[0] != "perilune repl"
                t.expect(re.escape(SHELL) + "$" if leaves else "perilune> $")
        finally:
            t.type("\x04")
            t.line("kill %1; exit")
        t.ended()


main()
