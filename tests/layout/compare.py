# SPDX-License-Identifier: Apache-2.0
"""Holds what JSON and Lua say of a record against what the compiler read.

The compiler's reading is a list of (path, kind, value), the value as reader.h prints it. What each kind is to look like is
written down here once more, from the headers' words and not from the runtime's code.
"""
import datetime
import json
import math
import re
import socket
import struct

EXACT = 2**53  # as far as Lua's numbers are exact
EPOCH = datetime.datetime(1970, 1, 1)


class Number(str):
    """A number of JSON, as it is written."""


class Pairs(list):
    """An object of JSON, in its order."""


def parse(text):
    return json.loads(text, object_pairs_hook=Pairs, parse_int=Number, parse_float=Number, parse_constant=Number)


def flatten(value, path, out, dot="."):
    """The leaves of JSON, each with its path as the compiler's reader writes it."""
    if isinstance(value, Pairs):
        for name, below in value:
            flatten(below, path + dot + name if path else name, out, dot)
    elif isinstance(value, list):
        for i, below in enumerate(value):
            flatten(below, "%s[%d]" % (path, i), out, dot)
    else:
        out.append((path, value))
    return out


# ---------------------------------------------------------------------------------------------------- what values look like


def replaced(octets):
    """Text up to the first NUL, U+FFFD for every byte that is no part of a character."""
    octets, out = octets.split(b"\0")[0], ""
    while octets:
        for length in (1, 2, 3, 4):
            try:
                out += octets[:length].decode("utf-8")
                break
            except UnicodeDecodeError:
                continue
        else:
            out, length = out + "\ufffd", 1
        octets = octets[length:]
    return out


def address(octets):
    if octets.startswith(bytes(10) + b"\xff\xff"):
        return socket.inet_ntop(socket.AF_INET, octets[12:])
    return socket.inet_ntop(socket.AF_INET6, octets)


def time(ns):
    return "%s.%09dZ" % ((EPOCH + datetime.timedelta(seconds=ns // 10**9)).isoformat(), ns % 10**9)


def floating(kind, text):
    """(number, how it is packed) of a float's octets."""
    form = "<f" if kind == "float" else "<d"
    return struct.unpack(form, bytes.fromhex(text))[0], form


def digits(text):
    """How many significant digits a number is written with."""
    return len(re.sub(r"[-+.]", "", re.split("[eE]", text)[0]).strip("0")) or 1


def shortest(number, form):
    """Significant digits that are enough to read it back."""
    for count in range(1, 18):
        text = "%.*g" % (count, number)
        try:
            if struct.pack(form, float(text)) == struct.pack(form, number):
                return digits(text)
        except OverflowError:  # rounded up beyond the largest
            continue
    raise AssertionError(number)


PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 47: "gre", 50: "esp", 51: "ah", 58: "ipv6-icmp", 132: "sctp",
             253: None, 254: None, 255: None}  # the last are never anything's


def interface(index):
    try:
        return socket.if_indextoname(index)
    except (OSError, OverflowError):
        return None


def textual(kind, value):
    """The text that a value of such a kind is, or None."""
    if kind in ("text", "bytes", "mac", "address", "ipv4"):
        octets = bytes.fromhex(value)
        return {"text": replaced, "bytes": lambda o: o.hex(":"), "mac": lambda o: o.hex(":"), "address": address,
                "ipv4": lambda o: socket.inet_ntop(socket.AF_INET, o)}[kind](octets)
    if kind == "name":
        return value
    if kind == "pointer":
        return hex(int(value, 16))
    if kind == "time":
        return time(int(value, 16))
    if kind == "ifindex":
        return interface(int(value, 16))
    if kind in ("flags", "flags8"):
        return "0x%0*x" % (2 if kind == "flags8" else 4, int(value, 16))
    if kind == "proto":
        return PROTOCOLS.get(int(value, 16))
    return None


def same_json(kind, value, got):
    if kind in ("float", "double"):
        number, form = floating(kind, value)
        if not math.isfinite(number):
            return got is None
        return isinstance(got, Number) and struct.pack(form, float(got)) == struct.pack(form, number) \
            and digits(got) <= shortest(number, form)
    if kind == "bool":
        return got is (int(value, 16) != 0)
    text = textual(kind, value)
    if text is not None:
        return type(got) is str and got == text
    if kind == "proto" and int(value, 16) < 256 and int(value, 16) not in PROTOCOLS and type(got) is str:
        return re.fullmatch(r"[a-z0-9][a-z0-9.+/-]*", got) is not None
    return isinstance(got, Number) and str(got) == str(int(value, 16))


def json_differences(compiler, text):
    """Yields (path, what the compiler read, what the JSON has)."""
    leaves = flatten(parse(text), "", [])
    if [path for path, _ in leaves] != [path for path, _, _ in compiler]:
        have, want = dict(leaves), {path: (kind, value) for path, kind, value in compiler}
        for path in [p for p in want if p not in have] + [p for p in have if p not in want] or ["(order)"]:
            yield path, want.get(path, "nothing"), have.get(path, "nothing")
        return
    for (path, kind, value), (_, got) in zip(compiler, leaves):
        if not same_json(kind, value, got):
            yield path, "%s %s" % (kind, value), repr(got)


# ---------------------------------------------------------------------------------------------------- Lua


class Names:
    """What the fields of a layout are called, from the paths of the compiler's reader.

    A path is the part ("key", "value", or "values[3]" of one CPU), and the members from there; the field's name is the members
    without indexes, the part itself where there are none. A name that the key has too gets "value." before it.
    """

    def __init__(self, compiler, index_name):
        self.taken, self.index_name = {}, index_name
        self.key_members = {self.members(path).split(".")[0] for path, _, _ in compiler if path.startswith("key")}

    @staticmethod
    def members(path):
        return re.sub(r"\[\d+\]", "", path).partition(".")[2]

    def own(self, path):
        members = self.members(path)
        return members or ("value" if path.startswith("value") else self.index_name)

    def field(self, path):
        """(name, indexes); call it in the order of the paths."""
        plain = re.sub(r"\[\d+\]", "", path)
        if plain not in self.taken:
            name = self.own(path)
            while name in self.taken.values():
                name = "value." + name
            self.taken[plain] = name
        return self.taken[plain], "".join(re.findall(r"\[\d+\]", path))

    def row(self, path):
        """The same in a row of JSON, with / between members: a member may be called "value.x"."""
        name, indexes = self.own(path), "".join(re.findall(r"\[\d+\]", path))
        if path.startswith("values") and self.members(path):
            name = "values." + name
        in_key = name.split(".")[0] in ((self.key_members - {""}) or {self.index_name})
        return ("value." if path.startswith("value") and in_key else "") + name.replace(".", "/"), indexes


def same_lua(kind, value, got_type, got):
    """Whether Lua's value is the compiler's; of numbers that are not exact in Lua, whether it is an error."""
    if kind in ("float", "double"):
        number, _ = floating(kind, value)
        return got_type == "number" and (math.isnan(number) and "nan" in got or struct.pack("<d", float(got)) == struct.pack("<d", number))
    if kind == "bool":
        return (got_type, got) == ("boolean", "true" if int(value, 16) else "false")
    if kind == "time":
        return got_type == "number" and math.isclose(float(got), int(value, 16) / 1e9, rel_tol=1e-15)
    if kind == "text":
        return (got_type, got) == ("string", bytes.fromhex(value).split(b"\0")[0].hex())
    if kind in ("proto", "flags", "flags8", "ifindex"):
        return (got_type, got) == ("number", str(int(value, 16)))
    text = textual(kind, value)
    if text is not None:
        return (got_type, got) == ("string", text.encode().hex())
    return got_type == "number" and float(got) == int(value, 16)


def inexact(kind, value):
    return kind in ("int", "proto", "flags") and abs(int(value, 16)) > EXACT


def lua_differences(compiler, lines, names):
    """Yields (field, what the compiler read, what Lua has)."""
    fields, seen = {}, {}
    for path, kind, value in compiler:
        name, indexes = names.field(path)
        fields.setdefault(name, {})[indexes] = (kind, value)
    for line in lines:
        name, indexes, got_type, got = line.split("\t")
        if indexes in seen.setdefault(name, {}):
            yield name, "one such value", "two"
        seen[name][indexes] = (got_type, got)
    if list(fields) != list(seen):
        yield "(fields)", list(fields), list(seen)
        return
    for name, elements in fields.items():
        if any(inexact(*element) for element in elements.values()):
            if [got_type for got_type, _ in seen[name].values()] != ["error"]:
                yield name, "a number that is not exact in Lua", seen[name]
        elif set(elements) != set(seen[name]):
            yield name, list(elements.items()), list(seen[name].items())
        else:
            for indexes, element in elements.items():
                if not same_lua(*element, *seen[name][indexes]):
                    yield name + indexes, "%s %s" % element, "%s %s" % seen[name][indexes]


def row_differences(compiler, text, names):
    """The same as JSON of a row, whose members are those of key and value side by side."""
    have = {}
    for path, got in flatten(parse(text)[0], "", [], "/"):
        at = (re.sub(r"\[\d+\]", "", path), "".join(re.findall(r"\[\d+\]", path)))
        if at in have:
            yield path, "one such member", "two"
        have[at] = got
    want = {names.row(path): (kind, value) for path, kind, value in compiler}
    for at in sorted(set(want) ^ set(have)):
        yield "".join(at), want.get(at, "nothing"), have.get(at, "nothing")
    for at in want:
        if at in have and not same_json(*want[at], have[at]):
            yield "".join(at), "%s %s" % want[at], repr(have[at])
