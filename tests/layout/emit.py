# SPDX-License-Identifier: Apache-2.0
"""C from layouts: the header with types and values, the BPF program, the host's reader.

Values are assigned and read as C members, so that where they lie is the compilers' affair alone.
"""
import struct

from model import Array, Record, is_const, string_of, strip

LICENCE = "/* SPDX-License-Identifier: Apache-2.0 */\n/* Generated from the seed that is the file's name. */\n"
# What texts are made of; most of it ordinary, the rest what has to be escaped or replaced.
TEXTS = [b"a", b"eth0", b"curl", b"0", b" ", b"\"", b"\\", b"/", b"\n", b"\x01", b"\x1f", b"\x7f", b"\0", b"\t",
         "é".encode(), "€".encode(), "😀".encode(), b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xf0\x9f\x98"]


def literal(value):
    """An integer constant of this value; the type's own where it has one, the smallest otherwise."""
    if value == -2**63:
        return "(-%dLL - 1)" % (2**63 - 1)
    return "%d%s" % (value, "" if -2**31 < value < 2**31 else "LL" if value < 2**63 else "ULL")


# ---------------------------------------------------------------------------------------------------- values


def integer(rng, bits, signed):
    """Any value, often one at an edge: of the type, of what a double holds exactly, of another width."""
    low, high = (-2**(bits - 1), 2**(bits - 1) - 1) if signed else (0, 2**bits - 1)
    pick = rng.random()
    if pick < 0.25:
        value = rng.choice((0, 1, -1, low, high, low + 1, high - 1))
    elif pick < 0.5:
        edge = rng.choice((2**7, 2**8, 2**15, 2**16, 2**31, 2**32, 2**53, 2**53, 2**63, 2**64, 2**127))
        value = rng.choice((1, -1)) * (edge + rng.randint(-2, 2))
    else:
        value = rng.getrandbits(rng.randint(1, bits)) * rng.choice((1, -1) if signed else (1,))
    return value if low <= value <= high else rng.randint(low, high)


def bit_pattern(rng, bits):
    """The bits of a float."""
    special = {32: (0x7f800000, 0xff800000, 0x7fc00000, 0x80000000, 1, 0x7f7fffff, 0x00800000),
               64: (0x7ff << 52, 0xfff << 52, 0x7ff8 << 48, 1 << 63, 1, 0x7fef << 48, 1 << 52)}[bits]
    pick = rng.random()
    if pick < 0.2:
        return rng.choice(special)
    if pick < 0.4:
        return rng.getrandbits(bits)
    number = rng.choice((rng.uniform(-1, 1), rng.randint(-2**25, 2**25), rng.uniform(-1, 1) * 10.0**rng.randint(-30, 30), 0.1, 1e21, 1e-7))
    return int.from_bytes(struct.pack("<f" if bits == 32 else "<d", number), "little")


def value_of(rng, leaf, bits, expression):
    """A constant of the leaf's type as C text; bits None: not a bitfield."""
    if leaf.kind == "bool":
        return rng.choice(("true", "false"))
    if leaf.kind == "pointer":
        return "(typeof(%s))0x%xUL" % (expression, integer(rng, 64, False))
    if leaf.kind == "enum":
        low, high = (-2**(leaf.bits - 1), 2**(leaf.bits - 1) - 1) if leaf.signed else (0, 2**leaf.bits - 1)
        value = rng.choice(leaf.enum[2]) if rng.random() < 0.6 else integer(rng, leaf.bits, leaf.signed)
        assert low <= value <= high
    elif leaf.kind == "proto":
        value = rng.choice((1, 6, 17, 47, 58, 132, 253, 255, rng.randint(0, 255), integer(rng, leaf.bits, False)))
    elif leaf.kind == "time":
        value = rng.choice((0, 1, rng.getrandbits(64), 2**64 - 1, 1700000000 * 10**9 + rng.getrandbits(50)))
    elif leaf.kind == "ifindex":
        value = rng.choice((0, 1, 1, 2**31 - 1 - rng.getrandbits(16), 2**31 + rng.getrandbits(31)))
    else:
        value = integer(rng, bits or leaf.bits, leaf.signed)
    if bits and bits < leaf.bits:
        value &= (1 << bits) - 1
        if leaf.signed and value >> (bits - 1):
            value -= 1 << bits
    if leaf.bits == 128:
        pattern = value % 2**128
        return "(%s)((unsigned __int128)0x%xULL << 64 | 0x%xULL)" % (leaf.form % "", pattern >> 64, pattern % 2**64)
    return "(%s)%s" % ((leaf.form % "").strip(), literal(value))


def text_bytes(rng, count):
    """Bytes of a char array: a word and zeros, a word that fills it, or anything."""
    pieces = TEXTS[:6] if rng.random() < 0.4 else TEXTS
    text = b""
    for _ in range(rng.randint(0, count)):
        text += rng.choice(pieces)
    if rng.random() < 0.3:
        text += b"\0" + bytes(rng.getrandbits(8) for _ in range(count))
    return text[:count] + bytes(max(count - len(text), 0))


def assign(lines, expression, text, leaf, const):
    if leaf.kind == "float":
        lines.append("{ __u%d bits = %s; __builtin_memcpy((void *)&%s, &bits, %d); }" % (leaf.bits, text, expression, leaf.bits // 8))
    elif const:
        lines.append("{ typeof(%s) new = %s; __builtin_memcpy((void *)&%s, (const void *)&new, sizeof(new)); }"
                     % (expression, text, expression))
    else:
        lines.append("%s = %s;" % (expression, text))


def fill_octets(lines, rng, leaf, expression, const):
    octets = rng.randbytes(leaf.bits // 8)
    if leaf.kind == "address":
        octets = rng.choice((bytes(10) + b"\xff\xff" + rng.randbytes(4), bytes(16), bytes(12) + rng.randbytes(4), octets,
                             b"\x20\x01\x0d\xb8" + bytes(11) + rng.randbytes(1)))
    if leaf.form == "struct ip_addr %s" and not const:
        lines.extend("%s.octets[%d] = %d;" % (expression, i, octet) for i, octet in enumerate(octets))
    else:
        lines.append("{ __u8 new[] = {%s}; __builtin_memcpy((void *)&%s, new, sizeof(new)); }" % (", ".join(map(str, octets)), expression))


def fill(lines, rng, of, expression, const=False, bits=None):
    """Statements that give every element a value; of a union, one member."""
    const = const or is_const(of)
    of = strip(of)
    if isinstance(of, Record):
        members = [m for m in of.members if m.name or m.bits is None]
        if of.word == "union" and members:
            members = [rng.choice(members)]
        for member in members:
            fill(lines, rng, member.of, "%s.%s" % (expression, member.name) if member.name else expression, const, member.bits)
    elif isinstance(of, Array):
        kind = string_of(of.of)
        known = text_bytes(rng, of.count) if kind == "text" else rng.randbytes(of.count) if kind else None
        for i in range(of.count):
            element = "%s[%d]" % (expression, i)
            if known is None:
                fill(lines, rng, of.of, element, const)
            else:
                leaf = strip(of.of)
                value = known[i] - (256 if leaf.signed and known[i] > 127 else 0)
                assign(lines, element, "(%s)%d" % ((leaf.form % "").strip(), value), leaf, const or is_const(of.of))
    elif of.kind in ("address", "ipv4", "mac"):
        fill_octets(lines, rng, of, expression, const)
    elif of.kind == "float":
        assign(lines, expression, "0x%xULL" % bit_pattern(rng, of.bits), of, const)
    elif of.kind == "be":
        assign(lines, expression, "(%s)0x%xULL" % ((of.form % "").strip(), rng.getrandbits(of.bits)), of, const)
    else:
        assign(lines, expression, value_of(rng, of, bits, expression), of, const)


# ---------------------------------------------------------------------------------------------------- the reader


def read(lines, of, expression, path, loops, indent):
    """Statements that print every leaf. `loops` counts the arrays around it: their indexes are i0, i1 …"""
    of = strip(of)
    tail = '"%s"%s);' % (path, "".join(", i%d" % i for i in range(loops)))
    if isinstance(of, Record):
        for member in of.members:
            if member.name is None and member.bits is None:
                read(lines, member.of, expression, path, loops, indent)
            elif member.name is not None and not member.is_padding():
                read_member(lines, member, expression, path, loops, indent)
    elif isinstance(of, Array):
        kind = string_of(of.of)
        if kind and of.count:  # nothing is no field
            lines.append("%sreader__%s(r, (const void *)%s, sizeof(%s), %s" % (indent, kind, expression, expression, tail))
        if kind:
            return
        i = "i%d" % loops
        lines.append("%sfor (int %s = 0; %s < %d; %s++) {" % (indent, i, i, of.count, i))
        read(lines, of.of, "%s[%s]" % (expression, i), path + "[%d]", loops + 1, indent + "\t")
        lines.append(indent + "}")
    else:
        read_leaf(lines, of, expression, False, tail, indent)


def read_member(lines, member, expression, path, loops, indent):
    expression, path = "%s.%s" % (expression, member.name), "%s.%s" % (path, member.name)
    if member.bits is None:
        read(lines, member.of, expression, path, loops, indent)
    else:
        tail = '"%s"%s);' % (path, "".join(", i%d" % i for i in range(loops)))
        read_leaf(lines, strip(member.of), expression, True, tail, indent)


def read_leaf(lines, leaf, expression, bitfield, tail, indent):
    if leaf.kind == "enum":
        what = "enum(r, %s, name_%s((enum %s)%s), " % (expression, leaf.enum[0], leaf.enum[0], expression)
    elif leaf.kind == "bool" and not bitfield:
        what = "bool(r, *(const volatile unsigned char *)&%s, " % expression  # a union may have left any byte there
    elif leaf.kind == "float":
        what = "float(r, (const void *)&%s, %d, " % (expression, leaf.bits)
    elif leaf.kind in ("address", "ipv4", "mac"):
        what = "%s(r, (const void *)&%s, " % (leaf.kind, expression)
    elif leaf.kind == "be":
        what = "uint(r, __builtin_bswap%d(%s), " % (leaf.bits, expression)
    elif leaf.kind == "ifindex":
        what = "ifindex(r, (unsigned int)%s, " % expression
    elif leaf.kind == "pointer":
        what = "pointer(r, (unsigned long)%s, " % expression
    else:
        what = "%s(r, %s, " % (leaf.kind, expression)
    lines.append(indent + "reader__" + what + tail)


# ---------------------------------------------------------------------------------------------------- files


def header(layouts, rng):
    out = [LICENCE]
    for layout in layouts:
        out.extend(layout.definitions)
        for name, of, copies in layout.parts():
            for copy in copies:
                lines = []
                fill(lines, rng, of, "(*p)")
                out.append("static __noinline void fill_%s%s(%s *p)\n{\n%s}" % (name, copy, name, "".join("\t%s\n" % l for l in lines)))
    return "\n".join(out) + "\n"


def bpf(layouts, seed):
    """Three scratch entries a layout: a map of the hash kind is filled from there, since a key may be too large for the stack."""
    union = "".join("\t%s of_%s;\n" % (name, name) for layout in layouts for name, _, _ in layout.parts())
    out = [LICENCE, '#include "bpf/kernel_types.h"\n#include <bpf/bpf_helpers.h>\n#include "bpf/types.h"\n#include "%s.h"\n' % seed,
           "union any {\n%s};\n" % union,
           "struct {\n\t__uint(type, BPF_MAP_TYPE_ARRAY);\n\t__uint(max_entries, %d);\n\t__type(key, __u32);\n\t__type(value, union any);\n"
           "} scratch SEC(\".maps\");\n" % (3 * len(layouts)),
           "static __always_inline void *scratch_at(__u32 i)\n{\n\treturn bpf_map_lookup_elem(&scratch, &i);\n}\n"]
    calls = []
    for layout in layouts:
        n, name = layout.number, "v_%d" % layout.number
        out.append("struct {\n\t__uint(type, BPF_MAP_TYPE_%s);\n\t__uint(max_entries, 1);\n\t__type(key, %s);\n\t__type(value, %s);\n"
                   "} map_%d SEC(\".maps\");\n" % (layout.kind.upper(), "k_%d" % n if layout.key else layout.index_type(), name, n))
        second = "fill_%s_b(v)" % name if layout.per_cpu else "fill_%s_a(v)" % name
        if layout.key:
            text = ("k_%d *k = scratch_at(%d);\n\t%s *v = scratch_at(%d + odd);\n\n\tif (!k || !v)\n\t\treturn 1;\n\tfill_k_%d_a(k);\n"
                    "\tif (odd)\n\t\t%s;\n\telse\n\t\tfill_%s_a(v);\n"
                    "\treturn bpf_map_update_elem(&map_%d, (const void *)k, (const void *)v, BPF_ANY);\n"
                    % (n, 3 * n, name, 3 * n + 1, n, second, name, n))
        else:
            text = ("__u32 zero = 0;\n\t%s *v = bpf_map_lookup_elem(&map_%d, &zero);\n\n\tif (!v)\n\t\treturn 1;\n"
                    "\tif (odd)\n\t\t%s;\n\telse\n\t\tfill_%s_a(v);\n\treturn 0;\n" % (name, n, second, name))
        out.append("static __noinline int put_%d(__u32 odd)\n{\n\t%s}\n" % (n, text))
        calls.append("\tif (put_%d(odd))\n\t\treturn %d;\n" % (n, n + 1))
    out.append("/* On CPUs of odd number, per-CPU maps get other values. */\nSEC(\"syscall\") int fill(void *ctx)\n{\n"
               "\t__u32 odd = bpf_get_smp_processor_id() & 1;\n\n%s\treturn 0;\n}\n\n"
               "char LICENSE[] SEC(\"license\") = \"GPL\";\n" % "".join(calls))
    return "\n".join(out)


def host(layouts, seed):
    out = [LICENCE, '#include "reader.h"\n#include "bpf/types.h"\n#include "%s.h"\n' % seed]
    table = []
    for layout in layouts:
        for enum in layout.enums:
            tag, names, values = enum.enum
            first = [name for i, name in enumerate(names) if values[i] not in values[:i]]
            cases = "".join("\tcase %s:\n\t\treturn \"%s\";\n" % (name, name) for name in first)
            out.append("static const char *name_%s(enum %s value)\n{\n\tswitch (value) {\n%s\tdefault:\n\t\treturn NULL;\n\t}\n}"
                       % (tag, tag, cases))
        entry = ["map_%d" % layout.number, str(int(layout.per_cpu))]
        for name, of, copies in layout.parts():
            lines = []
            read(lines, of, "(*p)", "", 0, "\t")
            out.append("static void print_%s(struct reader *r, const void *bytes)\n{\n\tconst %s *p = bytes;\n\n\t(void)p;\n%s}"
                       % (name, name, "".join(line + "\n" for line in lines)))
            for copy in copies:
                out.append("static void put_%s%s(void *bytes)\n{\n\tfill_%s%s(bytes);\n}" % (name, copy, name, copy))
        k, v = "k_%d" % layout.number, "v_%d" % layout.number
        index = "NULL"
        if layout.index:
            index = "print_i_%d" % layout.number
            lines = []
            read_leaf(lines, layout.index, "(*p)", False, '"%s", "");', "\t")
            out.append("static void %s(struct reader *r, const void *bytes)\n{\n\tconst %s *p = bytes;\n\n%s\n}"
                       % (index, layout.index_type(), "\n".join(lines)))
        entry += ["sizeof(%s), put_%s_a, print_%s" % (k, k, k)] if layout.key else ["sizeof(__u32), NULL, %s" % index]
        entry += ["sizeof(%s), {put_%s_a, put_%s%s}, print_%s" % (v, v, v, "_b" if layout.per_cpu else "_a", v)]
        table.append('\t{"%s", %s},' % (entry[0], ", ".join(entry[1:])))
    out.append("const struct layout_case layout_cases[] = {\n%s\n\t{0}};" % "\n".join(table))
    return "\n\n".join(out) + "\n"


