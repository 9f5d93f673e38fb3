# SPDX-License-Identifier: Apache-2.0
# ctest: cost 900
# ctest: timeout 2700
# ctest: once
"""Every feature alone, every pair, and all together, of every template, with every key, compile and pass the verifier on every hook;
and each conflict that a manifest declares is refused.

Each combination is a level of its own, so the verifier proves it by itself. Prints how many programs were loaded.
"""
import itertools
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.environ["PERILUNE_SOURCE"], "tests", "replay"))
import lab  # noqa: E402

LEVELS = 6  # in one policy, so that its maps are not too many
# What a policy asks for, and how many programs of each level that is.
HOOKS = {"xdp": 1, "tc": 2}


def manifests():
    run = subprocess.run(["luajit", os.path.join(lab.SOURCE, "tests", "e2e", "matrix.lua"), os.path.join(lab.SOURCE, "templates")],
                         capture_output=True, check=True, text=True, stdin=subprocess.DEVNULL,
                         env=dict(os.environ, LUA_PATH="%s/lua/?.lua;;" % lab.SOURCE))
    return [json.loads(line) for line in run.stdout.splitlines()]


def quoted(names):
    return ", ".join('"%s"' % name for name in names)


def listed(value):
    """An empty list of Lua's is an object in JSON."""
    return value or []


def combinations(template):
    """Sets of features that may stand together, as the manifest says."""
    features = {f["name"]: f for f in listed(template["features"])}

    def whole(names):
        names = set(names)
        for name in sorted(names):
            names |= set(listed(features[name].get("requires")))
        return names

    def allowed(names):
        return not any(other in names for name in names for other in listed(features[name].get("conflicts")))

    sets = [()] + [(name,) for name in features] + list(itertools.combinations(features, 2))
    every = list(features)
    for name in features:
        every = [other for other in every if other not in listed(features[name].get("conflicts")) or name not in every]
    sets.append(tuple(every))
    return sorted({tuple(sorted(whole(names))) for names in sets if allowed(whole(names))})


def bodies(template):
    """What stands in a probe's braces: all combinations with the first key that goes with them, and all keys without features."""
    needs = {f["name"]: listed(f.get("key")) for f in listed(template["features"])}
    out = ["features = { %s }" % quoted(names) for names in combinations(template)]
    every = combinations(template)[-1] if needs else ()
    widest = max(combinations(template), key=len)
    out += ['key = "%s"' % key for key in listed(template["keys"])]
    for field in listed(template["key_fields"]):
        out.append('key = { "%s" }' % field)
        out.append('key = { "%s" }, features = { %s }' % (field, quoted(name for name in widest if not needs[name])))
    if template["key_fields"]:
        out.append("key = { %s }, features = { %s }" % (quoted(template["key_fields"]), quoted(every)))
    return out


def check(name, hook, probes):
    levels = ",\n".join('level "l%d" { %s "p%d" { %s } }' % (i, name, i, body) for i, body in enumerate(probes))
    text = 'return policy "matrix" { attach = { iface = "lo", hook = "%s" }, levels = {\n%s\n} }\n' % (hook, levels)
    # A cache of its own: what is compiled here is for no other test, whose objects it would drive out.
    out, _ = lab.perilune("check", "--no-cost", lab.write("matrix.lua", text.encode()), env={"PERILUNE_CACHE": os.path.join(lab.OUT, "cache")})
    names = ", ".join("l%d" % i for i in range(len(probes)))
    if not out.rstrip().endswith(b"verified") or "level%s %s:" % ("s" * (len(probes) > 1), names) not in out.decode():
        lab.fail("%s at %s: %s" % (name, hook, out.decode()))


def conflicts(template):
    refused = 0
    for feature in listed(template["features"]):
        for other in listed(feature.get("conflicts")):
            text = 'return policy "p" { attach = { iface = "lo", hook = "%s" }, always = { %s { features = { "%s", "%s" } } } }\n' % (
                template["hooks"][0], template["name"], feature["name"], other)
            _, err = lab.perilune("check", "--no-cost", lab.write("conflict.lua", text.encode()), status=2)
            if b"exclude each other" not in err:
                lab.fail("%s: %s and %s: %s" % (template["name"], feature["name"], other, err.decode()))
            refused += 1
    return refused


def main():
    loaded, refused = {}, 0
    for template in manifests():
        probes = bodies(template)
        lab.equal({"xdp", "tc.ingress", "tc.egress"}, set(template["hooks"]), template["name"] + ": hooks")
        for hook, programs in HOOKS.items():
            for at in range(0, len(probes), LEVELS):
                check(template["name"], hook, probes[at:at + LEVELS])
            loaded[template["name"]] = loaded.get(template["name"], 0) + len(probes) * programs
        refused += conflicts(template)
    if len(loaded) < 2 or min(loaded.values()) < 1:
        lab.fail("only %r" % loaded)
    lab.done("%d programs loaded (%s), %d conflicts refused"
             % (sum(loaded.values()), ", ".join("%s %d" % pair for pair in sorted(loaded.items())), refused))


if __name__ == "__main__":
    main()
