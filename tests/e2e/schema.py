#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds JSON lines against the schema of the events.

    schema.py [--schema FILE] [--first N] LINES …      ("-" is standard input)

Prints the first violations as FILE:LINE: what is wrong. Exit status: 0 all lines are good, 1 some are not, 2 usage; a file
without any line is not good.
"""
import argparse
import json
import os
import sys

from jsonschema import Draft202012Validator

HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMA = os.path.join(HERE, "..", "..", "lua", "perilune", "event.schema.json")
HEAD = ["v", "time", "event"]


def unique(pairs):
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError("the name %s is there twice" % ", ".join(twice))
    return dict(pairs)


def no_constant(name):
    raise ValueError("%s is not JSON" % name)


class Checker:
    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.schema = json.load(file)
        Draft202012Validator.check_schema(self.schema)
        self.by_event = {}
        for choice in self.schema["oneOf"]:
            name = choice["$ref"].rsplit("/", 1)[1]
            one = {"$defs": self.schema["$defs"], "$ref": choice["$ref"]}
            self.by_event[name] = Draft202012Validator(one)

    def problems(self, line):
        """What is wrong with one line, as a list of texts."""
        try:
            event = json.loads(line, object_pairs_hook=unique, parse_constant=no_constant)
        except ValueError as error:
            return ["no JSON: %s" % error]
        if not isinstance(event, dict):
            return ["not an object"]
        if list(event)[:3] != HEAD:
            return ["does not begin with v, time, event"]
        # The one event's own schema says what is wrong far better than "no alternative of oneOf fits".
        name = event["event"]
        validator = self.by_event.get(name) if isinstance(name, str) else None
        if validator is None:
            return ["there is no event %r" % (name,)]
        found = ["%s: %s" % (error.json_path, error.message) for error in validator.iter_errors(event)]
        return ["event %s: %s" % (name, text) for text in sorted(found)]


def main():
    parser = argparse.ArgumentParser(usage="%(prog)s [--schema FILE] [--first N] LINES …")
    parser.add_argument("--schema", default=SCHEMA)
    parser.add_argument("--first", type=int, default=10, help="print at most so many violations")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    checker = Checker(args.schema)
    bad = 0
    for path in args.files:
        lines = 0
        with open(0 if path == "-" else path, "rb") as file:
            for lines, raw in enumerate(file, 1):
                try:
                    problems = checker.problems(raw.decode("utf-8"))
                except UnicodeDecodeError as error:
                    problems = ["no UTF-8: %s" % error]
                if not raw.endswith(b"\n"):
                    problems.append("the line does not end")
                for text in problems:
                    bad += 1
                    if bad <= args.first:
                        print("%s:%d: %s" % (path, lines, text))
        if lines == 0:
            bad += 1
            print("%s: no line at all" % path)
    if bad > args.first:
        print("… %d more" % (bad - args.first))
    return 1 if bad else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OSError as error:
        print("schema.py: %s" % error, file=sys.stderr)
        sys.exit(2)
