# SPDX-License-Identifier: Apache-2.0
# ctest: cost 60
# ctest: timeout 900
"""Random records, read in three ways: as C by the compiler, as Lua by the view, as JSON. All must say the same.

    test_generated.py [SEED [OBJECTS [LAYOUTS]]]    OBJECTS times LAYOUTS types, from the seeds SEED, SEED + 1 …

A BPF program assigns known values to the members and the runtime reads them from its maps. What differs is printed with its
seed and its declaration; the generated files of a failure are kept.
"""
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import generate  # noqa: E402

SOURCE = os.environ.get("PERILUNE_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD = os.environ.get("PERILUNE_BUILD", os.path.join(SOURCE, "build"))
HERE = os.path.join(SOURCE, "tests", "layout")
SANITIZED = "PERILUNE_SANITIZE" in os.environ
LAYOUTS = 50   # in an object; a program has at most 64 maps
MOST_SHOWN = 20
READERS = {"J": "JSON", "L": "Lua", "R": "a row of JSON"}


def clang():
    """The one that the runtime takes."""
    names = [os.environ.get("PERILUNE_CLANG")] + ["clang-%d" % n for n in range(22, 13, -1)] + ["clang"]
    for name in filter(None, names):
        if shutil.which(name):
            return name
    sys.exit("test_generated.py: there is no clang")


def compile_one(command, directory, source, target):
    run = subprocess.run([*command, source, "-o", target], cwd=directory, capture_output=True, text=True, check=False)
    if run.returncode:
        raise RuntimeError("%s\n%s" % (" ".join(run.args), run.stderr[-4000:]))
    return os.path.join(directory, target)


def make(seed, count, directory):
    """An object: (its layouts, paths of the BPF object and of the host's reader)."""
    layouts = generate.write(seed, count, directory)
    program = compile_one([clang(), "-target", "bpf", "-mcpu=v3", "-g", "-O2", "-I" + SOURCE, "-c"], directory,
                          "%d.bpf.c" % seed, "%d.bpf.o" % seed)
    reader = compile_one([clang(), "-O0", "-fno-strict-aliasing", "-shared", "-fPIC", "-I" + SOURCE, "-I" + HERE], directory,
                         "%d.host.c" % seed, "%d.so" % seed)
    return layouts, program, reader


class Report:
    def __init__(self):
        self.shown = self.failures = self.layouts = self.values = 0

    def fail(self, seed, layout, differences):
        self.failures += 1
        if self.shown == MOST_SHOWN:
            return
        self.shown += 1
        print("---- seed %d, map %d (%s):\n%s" % (seed, layout.number, layout.kind, "\n".join(layout.definitions)))
        for reader, path, expected, got in differences[:10]:
            print("  %s: %s: the compiler reads %s, %s has %s" % (reader, path, expected, reader, got))
        if len(differences) > 10:
            print("  … %d more" % (len(differences) - 10))


def judge(report, seed, layout, lines):
    """One map's lines from the harness."""
    compiler, differences, texts = [], [], {}
    for line in lines:
        kind, _, rest = line.partition("\t")
        if kind == "C":
            compiler.append(tuple(rest.split("\t")))
        elif kind == "X":
            differences.append(("harness", "", "", rest))
        else:
            texts.setdefault(kind, []).append(rest)
    report.layouts += 1
    report.values += len(compiler)
    names = compare.Names(compiler, layout.key_name())
    for reader, find in (("J", lambda t: compare.json_differences(compiler, t[0])),
                         ("L", lambda t: compare.lua_differences(compiler, t, names)),
                         ("R", lambda t: compare.row_differences(compiler, t[0], names))):
        if reader in texts:
            try:
                differences += [(READERS[reader], *difference) for difference in find(texts[reader])]
            except ValueError as error:  # no JSON, no number
                differences.append((READERS[reader], "", error, texts[reader]))
        elif reader != "L" or compiler:
            differences.append((READERS[reader], "", "values", "nothing at all"))
    if differences:
        report.fail(seed, layout, differences)


def read_all(objects, report):
    """One process reads them all, with one Lua state."""
    arguments = [path for _, _, *paths in objects for path in paths]
    harness = subprocess.Popen([os.path.join(BUILD, "tests", "layout_harness"), *arguments], stdout=subprocess.PIPE,
                               encoding="utf-8", errors="surrogateescape", env=dict(os.environ, PERILUNE_SOURCE=SOURCE))
    at, number, lines, ended = -1, -1, [], False
    for line in harness.stdout:
        kind, _, rest = line.rstrip("\n").partition("\t")
        if kind not in ("@", "O", "E"):
            lines.append(line.rstrip("\n"))
            continue
        if number >= 0:
            judge(report, objects[at][0], objects[at][1][number], lines)
        elif lines:
            print("\n".join(lines))
            report.failures += 1
        at, number, lines, ended = at + (kind == "O"), int(rest.split("_")[1]) if kind == "@" else -1, [], kind == "E"
    status = harness.wait()
    if not ended and number >= 0:
        report.fail(objects[at][0], objects[at][1][number], [("harness", "", "", "ended here, with status %d" % status)])
    elif status:
        print("the harness ended with status %d" % status)
        report.failures += 1


def main():
    seed, count, layouts = (list(map(int, sys.argv[1:])) + [1, 6 if SANITIZED else 60, LAYOUTS][len(sys.argv) - 1:])[:3]
    directory = tempfile.mkdtemp(prefix="perilune-test.", dir=os.environ.get("TMPDIR", "/tmp"))
    report = Report()
    try:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            made = list(pool.map(lambda s: (s, *make(s, layouts, directory)), range(seed, seed + count)))
        read_all(made, report)
        if report.layouts != count * layouts:
            print("%d of %d layouts were read" % (report.layouts, count * layouts))
            report.failures += 1
    except RuntimeError as error:
        print(error)
        report.failures += 1
    if report.failures:
        sys.exit("test_generated.py: FAILED: %d of %d layouts (files in %s)" % (report.failures, report.layouts, directory))
    shutil.rmtree(directory)
    print("test_generated.py: %d layouts, %d values, read alike by the compiler, Lua and JSON" % (report.layouts, report.values))


if __name__ == "__main__":
    main()
