# SPDX-License-Identifier: Apache-2.0
# ctest: cost 40
# ctest: once
# ctest: timeout 1200
"""A feature that is off costs nothing: the program is instruction by instruction the one that is made from a template in which the
feature was never written. Both for all features off, and for one on and the others never written. Prints the table."""
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PERILUNE_SOURCE"], "tests", "replay"))
sys.path.insert(0, os.path.join(os.environ["PERILUNE_SOURCE"], "tests", "e2e"))
import lab  # noqa: E402
import test_matrix as matrix  # noqa: E402

TEMPLATES = os.path.join(lab.SOURCE, "templates")
CLANG = os.environ.get("PERILUNE_CLANG", "clang-19")


def never_written(text, kept):
    """The template without the lines of every feature that is not in `kept`, as if their conditions had never been there."""
    out, stack = [], []
    for line in text.split("\n"):
        word = line.strip()
        if word.startswith("#if"):
            names = re.findall(r"FEATURE_(\w+)", word)
            if names:
                whole = re.sub(r"#ifdef\s+FEATURE_(\w+)", r"defined(FEATURE_\1)", re.sub(r"#ifndef\s+FEATURE_(\w+)", r"!defined(FEATURE_\1)", word))
                if re.search(r"defined\((?!FEATURE_)", whole):
                    stack.append(None)  # also about something else: stays
                else:
                    expression = whole.replace("#if ", "").replace("||", " or ").replace("&&", " and ").replace("!", " not ")
                    expression = re.sub(r"defined\(FEATURE_(\w+)\)", lambda m: str(m.group(1) in kept), expression)
                    stack.append(eval(expression, {}))  # pylint: disable=eval-used
                    continue
            else:
                stack.append(None)
        elif word.startswith("#else") and stack[-1] is not None:
            stack[-1] = not stack[-1]
            continue
        elif word.startswith("#endif") and stack.pop() is not None:
            continue
        if all(state is not False for state in stack):
            out.append(line)
    return "\n".join(out)


def code(source, path):
    """The instructions of every function, without names of files and lines."""
    run = subprocess.run([CLANG, "-O2", "-target", "bpf", "-mcpu=v3", "-I", os.path.join(lab.SOURCE, "bpf"), "-S", "-o", "-", "-x", "c", "-"],
                         input=source.encode(), capture_output=True, check=False)
    if run.returncode:
        lab.fail("%s: %s" % (path, run.stderr.decode()))
    lines = [re.sub(r"\s*#.*", "", line).strip() for line in run.stdout.decode().split("\n")]
    return [line for line in lines if line and not line.startswith((".", "LBB", "#"))]


def source_of(template, features):
    policy = lab.write("p.lua", ('return policy "p" { attach = { iface = "lo", hook = "xdp" }, always = { %s "probe" { features = { %s } } } }\n' % (
        template, matrix.quoted(features))).encode())
    out, _ = lab.perilune("check", policy, "--source")
    return out.decode()


def main():
    compared = 0
    for template in matrix.manifests():
        name = template["name"]
        path = os.path.join(TEMPLATES, name, "template.bpf.h")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        requires = {f["name"]: matrix.listed(f.get("requires")) for f in matrix.listed(template["features"])}
        for kept in [()] + [tuple(sorted([feature] + needed)) for feature, needed in sorted(requires.items())]:
            source = source_of(name, kept)
            include = re.search(r'#include "([^"]*/%s/template.bpf.h)"' % name, source).group(1)
            cut = lab.write("template.bpf.h", never_written(text, kept).encode())
            with_all, without = code(source, path), code(source.replace(include, cut), cut)
            lab.equal(without, with_all, "%s with %s: instructions" % (name, ", ".join(kept) or "no feature"))
            print("  %-14s %-24s %5d lines of code either way" % (name, ",".join(kept) or "-", len(with_all)))
            compared += 1
    lab.done("%d programs are what they would be if the features that are off had never been written" % compared)


main()
