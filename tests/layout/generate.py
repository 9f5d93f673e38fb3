# SPDX-License-Identifier: Apache-2.0
"""Random layouts: types for keys and values, made from a seed.

    generate.py SEED COUNT DIRECTORY    writes SEED.h, SEED.bpf.c and SEED.host.c there

The header has the types and, for each, functions that fill it member by member with known values. Both the BPF program, which
fills maps, and the host's code, which reads what comes back, are compiled from it.
"""
import math
import os
import random
import sys

import emit
from model import Array, Leaf, Member, Named, Qualified, Record, dimensions, has_bitfield, records_in, size, strip

LEAVES = 150  # at most in a type; more make the compilers slow and find nothing new
DIMS = 7     # arrays around a leaf; one more is left for the CPUs
DEPTH = 5    # records in records

INTEGERS = (
    [Leaf("__u%d %%s" % bits, "uint", bits, octet=bits == 8) for bits in (8, 16, 32, 64)]
    + [Leaf("__s%d %%s" % bits, "int", bits, True) for bits in (8, 16, 32, 64)]
    + [Leaf("unsigned char %s", "uint", 8, octet=True), Leaf("char %s", "int", 8, True, char=True),
       Leaf("signed char %s", "int", 8, True), Leaf("unsigned short %s", "uint", 16), Leaf("int %s", "int", 32, True),
       Leaf("unsigned long %s", "uint", 64), Leaf("long %s", "int", 64, True), Leaf("long long %s", "int", 64, True)])
WIDE = [Leaf("__int128 %s", "int", 128, True), Leaf("unsigned __int128 %s", "uint", 128)]
BOOL = Leaf("bool %s", "bool", 1)
FLOATS = [Leaf("float %s", "float", 32), Leaf("double %s", "float", 64)]
NETWORK = [Leaf("__be%d %%s" % bits, "be", bits) for bits in (16, 32, 64)]
MEANINGS = [Leaf("wall_ns %s", "time", 64), Leaf("ip_proto %s", "proto", 8), Leaf("struct ip_addr %s", "address", 128),
            Leaf("ipv4_addr %s", "ipv4", 32), Leaf("if_index %s", "ifindex", 32),
            Leaf("flags8 %s", "flags8", 8), Leaf("flags16 %s", "flags", 16), Leaf("flags32 %s", "flags", 32)]
# The same said by a tag on the member. (An array that is read as a whole is a leaf here.)
TAGGED = {
    "ipv4": [Leaf("__u32 %s", "ipv4", 32), Leaf("__be32 %s", "ipv4", 32), Leaf("__u8 %s[4]", "ipv4", 32)],
    "ipv6": [Leaf("__u8 %s[16]", "address", 128), Leaf("__u32 %s[4]", "address", 128), Leaf("__be32 %s[4]", "address", 128),
             Leaf("__u64 %s[2]", "address", 128), Leaf("unsigned __int128 %s", "address", 128)],
    "mac": [Leaf("mac_addr %s", "mac", 48), Leaf("__u8 %s[6]", "mac", 48)],
    "port": [Leaf("__u16 %s", "uint", 16), Leaf("__be16 %s", "be", 16)],
    "protocol": [Leaf("__u%d %%s" % bits, "proto", bits) for bits in (8, 16, 32, 64)],
    "flags": [Leaf("__u8 %s", "flags8", 8)] + [Leaf("__u%d %%s" % bits, "flags", bits) for bits in (16, 32, 64)],
    "timestamp": [Leaf("__u64 %s", "time", 64), Leaf("unsigned long %s", "time", 64)],
    "ifindex": [Leaf("__u32 %s", "ifindex", 32), Leaf("int %s", "ifindex", 32)],
}
# In a bitfield, a type with a meaning, or a wide one, is a plain number.
PLAIN = [Leaf("wall_ns %s", "uint", 63), Leaf("ip_proto %s", "uint", 7), Leaf("flags16 %s", "uint", 15), Leaf("__be16 %s", "uint", 15),
         Leaf("if_index %s", "uint", 31),
         Leaf("__int128 %s", "int", 64, True), Leaf("unsigned __int128 %s", "uint", 64)]
POINTERS = [Leaf(form, "pointer", 64) for form in (
    "void *%s", "const char *%s", "__u8 **%s", "struct nowhere *%s", "int (*%s)(int)", "volatile __u64 *const *%s")]
CHAR, OCTET = INTEGERS[9], INTEGERS[0]

# Names that could mean something to somebody on the way.
ODD_NAMES = """key value values index count name kind plain end nil local function repeat self type size f0 p0 e v0 _x __y _ __ pad
    pad2 _pad __padding padding7 ___pad0 padded paddle pad_ pad_1 xpad PAD _padx pads x_y X first last anonymous_0 union_""".split()


class Layout:
    """A map: its types, and what has to be declared before them."""

    def __init__(self, rng, number):
        self.rng, self.number = rng, number
        self.definitions = []
        self.enums, self.records = [], []
        self.counter = 0
        self.kind = rng.choices(("array", "hash", "percpu_array", "percpu_hash"), (4, 4, 1, 1))[0]
        self.per_cpu = self.kind.startswith("percpu")
        self.index = self.rng.choice((None, None, self.enum())) if self.kind.endswith("array") else None
        if self.index and self.index.bits != 32:
            self.index = None
        self.key = None if self.kind.endswith("array") else self.top("k", 16)
        self.value = self.top("v", LEAVES)

    def parts(self):
        """What has to be filled: (name, type, suffixes of the functions that do it)."""
        copies = ("_a", "_b") if self.per_cpu else ("_a",)
        return ([("k_%d" % self.number, self.key, ("_a",))] if self.key else []) + [("v_%d" % self.number, self.value, copies)]

    def key_name(self):
        """What a key that is no struct is called."""
        if not self.key:
            return self.index.enum[0] if self.index else "index"
        of = strip(self.key)
        while isinstance(of, Array):
            of = strip(of.of)
        return of.enum[0] if isinstance(of, Leaf) and of.enum else "key"

    def index_type(self):
        """An array's type of key."""
        return "enum %s" % self.index.enum[0] if self.index else "__u32"

    def unique(self, prefix):
        self.counter += 1
        return "%s_%d_%d" % (prefix, self.number, self.counter)

    def chance(self, share):
        return self.rng.random() < share

    def top(self, letter, most):
        """A type for a key or a value, always with a name of its own."""
        leaves = self.rng.choice((3, 10, min(most, 30), most))
        self.odd = self.rng.sample(ODD_NAMES, 12)
        if self.chance(0.9):
            of = self.record(leaves, 0, 0, self.rng.choice((True, True, False)))
        else:
            of = self.any(leaves, 0, 0)
        if not size(of):  # the kernel has no maps of nothing
            of = self.leaf()
        name = "%s_%d" % (letter, self.number)
        self.definitions.append("typedef %s;" % of.declare(name))
        return Named(name, of)

    # ------------------------------------------------------------------------------------------------ leaves

    def enum(self):
        """Declares one, or takes one that there is."""
        if self.enums and self.chance(0.6):
            return self.rng.choice(self.enums)
        low, high, attribute = self.rng.choice((
            (0, 9, ""), (-5, 5, ""), (-2**31, 2**31 - 1, ""), (0, 2**32 - 1, ""), (-2**63, 2**63 - 1, ""), (0, 2**64 - 1, ""),
            (0, 200, " __attribute__((packed))"), (-100, 100, " __attribute__((packed))"),
            (0, 60000, " __attribute__((packed))"), (-30000, 30000, " __attribute__((packed))"),
            (0, 2**40, " __attribute__((packed))"), (-1, 2**31, ""), (1, 1, "")))
        values = {low, high} | {self.rng.randint(low, high) for _ in range(self.rng.randint(0, 5))}
        values = self.rng.sample(sorted(values), len(values))
        if self.chance(0.2):
            values.append(self.rng.choice(values))  # a second name for the same value
        tag = self.unique("e")
        names = ["%s_%s" % (tag.upper(), "ABCDEFGH"[i]) for i in range(len(values))]
        text = ", ".join("%s = %s" % (name, emit.literal(value)) for name, value in zip(names, values))
        self.definitions.append("enum%s %s { %s };" % (attribute, tag, text))
        small = attribute and 8 if -128 <= low and high < 256 else 16 if attribute and -2**15 <= low and high < 2**16 else 0
        bits = small or (32 if -2**31 <= low and high < (2**31 if low < 0 else 2**32) else 64)
        enum = Leaf("enum %s %%s" % tag, "enum", bits, low < 0, enum=(tag, names, values))
        self.enums.append(enum)
        return enum

    def leaf(self):
        pick = self.rng.random()
        if pick < 0.01:
            return Leaf("mac_addr %s", "mac", 48)
        if pick < 0.45:
            return self.rng.choice(INTEGERS)
        if pick < 0.55:
            return self.enum()
        return self.rng.choice(self.rng.choice((WIDE, [BOOL], FLOATS, NETWORK, MEANINGS, POINTERS)))

    # ------------------------------------------------------------------------------------------------ compounds

    def any(self, leaves, dims, depth):
        """A type of about that many leaves at most."""
        pick = self.rng.random()
        known = [r for r in self.records if size(r) <= leaves and dimensions(r) + dims <= DIMS and records_in(r) + depth <= DEPTH]
        if known and pick < 0.07:
            of = self.rng.choice(known)
        elif leaves >= 2 and pick < 0.22 and depth < DEPTH:
            of = self.record(leaves, dims, depth + 1, self.chance(0.4))
        elif leaves >= 2 and pick < 0.45 and dims < DIMS:
            of = self.array(leaves, dims, depth)
        else:
            of = self.leaf()
        return self.dress(of)

    def array(self, leaves, dims, depth):
        """One to four dimensions; text and octets have one more, which is no dimension of the field."""
        whole = self.chance(0.3)
        most = min(4, DIMS - dims)
        counts = [self.rng.choice((1, 2, 3, 3, self.rng.randint(0, 9)))]
        while len(counts) < most and self.chance(0.35):
            counts.append(self.rng.randint(1, 3))
        while len(counts) > 1 and leaves < math.prod(counts):
            counts.pop()
        counts[0] = min(counts[0], max(leaves, 1))
        left = leaves // max(math.prod(counts), 1)
        if whole:
            if self.chance(0.6):
                counts, left = [], leaves
            count = self.rng.choice((1, 2, 4, 6, 16, self.rng.randint(1, 40)))
            of = Array(self.dress(self.rng.choice((CHAR, CHAR, OCTET))), max(min(count, left), 1))
        else:
            packs = left >= 2 and depth < DEPTH and self.chance(0.3)
            of = self.record(left, dims + len(counts), depth + 1, self.chance(0.4)) if packs else self.any(left, dims + len(counts), depth)
        for count in counts:
            if self.chance(0.15):
                of = self.named(of)
            of = Array(of, count)
        return of

    def dress(self, of):
        """Qualifiers and typedefs around a type."""
        while self.chance(0.12):
            if self.chance(0.5) and not isinstance(of, Qualified):
                word = "volatile" if has_bitfield(of) else self.rng.choice(("const", "volatile", "const volatile"))
                of = Qualified(word, of)
            else:
                of = self.named(of)
        return of

    def named(self, of):
        name = self.unique("t")
        self.definitions.append("typedef %s;" % of.declare(name))
        return Named(name, of)

    def record(self, leaves, dims, depth, tagged, scope=None):
        word = "union" if self.chance(0.2) else "struct"
        packed = self.chance(0.4)
        attributes = ["packed"] if packed else []
        if self.chance(0.1):
            attributes.append("aligned(%d)" % self.rng.choice((1, 2, 4, 8, 16, 32)))
        attribute = " __attribute__((%s))" % ", ".join(attributes) if attributes else ""
        members, scope = [], set() if scope is None else scope
        left = leaves
        for _ in range(self.rng.randint(1, 12)):
            if left < 1 and members:
                break
            member = self.member(max(left, 1), dims, depth, scope)
            members.append(member)
            left -= size(member.of) if member.name or member.bits is None else 0
        if not tagged:
            return Record(word, None, members, attribute)
        tag = self.unique(word[0])
        record = Record(word, tag, members, attribute)
        self.definitions.append("%s %s %s;" % (word, tag, record.body()))
        self.records.append(record)
        return record

    def member(self, leaves, dims, depth, scope):
        pick = self.rng.random()
        if pick < 0.03:
            return Member(None, self.rng.choice(INTEGERS), self.rng.choice((0, 0, 1, 3, 7)))
        if pick < 0.28:
            return self.bitfield(scope)
        if pick < 0.38 and leaves >= 2 and depth < DEPTH:
            return Member(None, self.record(leaves, dims, depth + 1, False, scope))
        if self.chance(0.07):
            meaning = self.rng.choice(list(TAGGED))
            of = self.dress(self.rng.choice(TAGGED[meaning]))
            while leaves > 3 and dims < DIMS and self.chance(0.25):
                of, leaves, dims = Array(of, 3), leaves // 3, dims + 1
            return Member(self.name(scope), of, attribute=" SHOW_AS(\"%s\")" % meaning)
        attribute = " __attribute__((%s))" % self.rng.choice(("packed", "aligned(8)", "aligned(2)", "aligned(16)")) \
            if self.chance(0.05) else ""
        return Member(self.name(scope), self.any(self.rng.randint(1, leaves), dims, depth), attribute=attribute)

    def bitfield(self, scope):
        pick = self.rng.random()
        base = BOOL if pick < 0.1 else self.enum() if pick < 0.25 else self.rng.choice(PLAIN if pick < 0.32 else INTEGERS)
        most = min(base.bits, 64)
        bits = self.rng.choice((1, most, most, self.rng.randint(1, most), self.rng.randint(most // 2 + 1, most)))
        of = base
        if self.chance(0.1):
            of = Qualified("volatile", of)
        return Member(self.name(scope), of, bits)

    def name(self, scope):
        while True:
            if self.chance(0.04):
                name = "value"
            elif self.chance(0.25):
                name = self.rng.choice(self.odd)
            elif self.chance(0.5):
                name = self.rng.choice("abcdefghij")
            else:
                name = "".join(self.rng.choice("abcdefghijklmnopqrstuvwxyz_0") for _ in range(self.rng.randint(2, 12)))
                name = "m" + name
            if name not in scope:
                scope.add(name)
                return name


def layouts(seed, count):
    rng = random.Random(seed)
    return [Layout(rng, number) for number in range(count)], rng


def write(seed, count, directory):
    made, rng = layouts(seed, count)
    stem = os.path.join(directory, str(seed))
    for suffix, text in ((".h", emit.header(made, rng)), (".bpf.c", emit.bpf(made, seed)), (".host.c", emit.host(made, seed))):
        with open(stem + suffix, "w", encoding="ascii") as out:
            out.write(text)
    return made


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: generate.py SEED COUNT DIRECTORY")
    write(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
