# SPDX-License-Identifier: Apache-2.0
"""Random C types: what they are, how they are declared.

A type is a Leaf, an Array, a Record (struct or union), or a Named or Qualified one around another. Only the C compilers know
where its parts lie; nothing here computes an offset.
"""
import re

PADDING = re.compile(r"_*pad(ding)?[0-9_]*$")  # members of these names are no part of a record


class Leaf:
    """A type with a value. `form` is its declaration with %s for the name, `kind` what the value means:

    int uint be bool float enum pointer time ipv4 proto flags flags8 ifindex, address (struct ip_addr); `char` tells char from __s8, `octet`
    a plain unsigned char from one that a typedef gives a meaning.
    """

    def __init__(self, form, kind, bits, signed=False, char=False, octet=False, enum=None):
        self.form, self.kind, self.bits, self.signed = form, kind, bits, signed
        self.char, self.octet, self.enum = char, octet, enum

    def declare(self, name):
        return self.form % name


class Array:
    def __init__(self, of, count):
        self.of, self.count = of, count

    def declare(self, name):
        return self.of.declare("%s[%d]" % (name, self.count))


class Record:
    """A struct or a union; without a tag it is declared where it is used."""

    def __init__(self, word, tag, members, attribute):
        self.word, self.tag, self.members, self.attribute = word, tag, members, attribute

    def body(self, indent=""):
        lines = "".join("%s\t%s;\n" % (indent, member.declare(indent + "\t")) for member in self.members)
        return "{\n%s%s}%s" % (lines, indent, self.attribute)

    def declare(self, name, indent=""):
        what = self.tag or self.body(indent)
        return ("%s %s %s" % (self.word, what, name)).rstrip()


class Named:
    """A typedef."""

    def __init__(self, name, of):
        self.name, self.of = name, of

    def declare(self, name):
        return "%s %s" % (self.name, name)


class Qualified:
    def __init__(self, word, of):
        self.word, self.of = word, of

    def declare(self, name):
        return "%s %s" % (self.word, self.of.declare(name))


class Member:
    """`bits` is None for all but bitfields; without a name it is an anonymous record or a bitfield that pads."""

    def __init__(self, name, of, bits=None, attribute=""):
        self.name, self.of, self.bits, self.attribute = name, of, bits, attribute

    def declare(self, indent):
        if isinstance(self.of, Record):
            text = self.of.declare(self.name or "", indent)
        else:
            text = self.of.declare(self.name or "").rstrip()
        return text + ("" if self.bits is None else " : %d" % self.bits) + self.attribute

    def is_padding(self):
        return self.name is not None and PADDING.match(self.name) is not None


def strip(of):
    """The type without its typedefs and qualifiers."""
    while isinstance(of, (Named, Qualified)):
        of = of.of
    return of


def is_const(of):
    """Does a qualifier on the way to the type forbid assignments?"""
    while isinstance(of, (Named, Qualified)):
        if isinstance(of, Qualified) and "const" in of.word:
            return True
        of = of.of
    return False


def string_of(of):
    """The kind, text or bytes, of an array of this element, if it is read as a whole."""
    leaf = strip(of)
    if not isinstance(leaf, Leaf):
        return None
    return "text" if leaf.char else "bytes" if leaf.octet else None


def size(of):
    """How many elements have to be filled."""
    of = strip(of)
    if isinstance(of, Array):
        return of.count * size(of.of)
    if isinstance(of, Record):
        return sum(size(m.of) for m in of.members if m.name or m.bits is None)
    return 16 if of.kind == "address" else 1


def has_bitfield(of):
    of = strip(of)
    if isinstance(of, Array):
        return has_bitfield(of.of)
    return isinstance(of, Record) and any(m.bits is not None or has_bitfield(m.of) for m in of.members)


def dimensions(of):
    """The most arrays around a leaf."""
    of = strip(of)
    if isinstance(of, Array):
        return dimensions(of.of) + (string_of(of.of) is None)
    return max((dimensions(m.of) for m in of.members), default=0) if isinstance(of, Record) else 0


def records_in(of):
    """The most records around a leaf."""
    of = strip(of)
    if isinstance(of, Array):
        return records_in(of.of)
    return 1 + max((records_in(m.of) for m in of.members), default=0) if isinstance(of, Record) else 0
