# SPDX-License-Identifier: Apache-2.0
"""Packets, and what has to be counted of each. Written down by hand, not computed: the expectation is the specification.

Every packet has a source of its own, so that its row is its own too.
"""
import os
import struct
import sys

sys.path.insert(0, os.path.join(os.environ["PERILUNE_SOURCE"], "tests", "replay"))
import lab  # noqa: E402
from lab import ethernet, ipv4, ipv6, tcp, udp  # noqa: E402

IPV4, IPV6, VLAN, QINQ = 0x0800, 0x86dd, 0x8100, 0x88a8
DST4, DST6 = "10.8.0.1", "2001:db8:8::1"
FLAGS = ("fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr")
EVERYWHERE = ("replay", "xdp", "tc.ingress", "tc.egress")


class Case:
    """One packet. `row`: (proto, sport, dport, IP octets), or why it has none: not_ip, truncated, malformed. `flaw`: what is wrong
    with it though it has a row."""

    def __init__(self, what, frame, src, row, flags, wire, hooks, instead, flaw):
        self.what, self.frame, self.src, self.row, self.flags, self.flaw = what, frame, src, row, flags, flaw
        self.wire, self.hooks, self.instead = wire or len(frame), hooks, instead

    def at(self, hook):
        return self.instead.get(hook, self.row)

    def key(self, hook):
        """Its row's key as lab.sum_rows has it, or None."""
        row = self.at(hook)
        if isinstance(row, str):
            return None
        return self.src, DST6 if ":" in self.src else DST4, row[1], row[2], row[0], 6 if ":" in self.src else 4

    def values(self, hook):
        values = dict.fromkeys(FLAGS, 0)
        for flag in self.flags:
            values[flag] = 1
        values.update(packets=1, skbs=1, bytes=self.at(hook)[3], syn_ack=int("syn" in self.flags and "ack" in self.flags))
        return values


CASES = []


def case(what, make, row, flags=(), wire=None, hooks=EVERYWHERE, instead=None, flaw=None):
    """make(source) → frame"""
    number = len(CASES) + 1
    v6 = make.__code__.co_varnames[0] == "s6"
    src = "2001:db8:9::%x" % number if v6 else "10.9.%d.%d" % (number >> 8, number & 255)
    CASES.append(Case(what, make(src), src, row, flags, wire, hooks, instead or {}, flaw))


def by_bits(bits):
    return [flag for i, flag in enumerate(FLAGS) if bits >> i & 1]


def eth4(payload, tags=()):
    return ethernet(IPV4, payload, tags)


def eth6(payload, tags=()):
    return ethernet(IPV6, payload, tags)


U = udp(1000, 2000, b"data")  # 12 octets

# ---- TCP flags, one by one and together
for bits in [1 << i for i in range(8)] + [0, 0x12, 0x11, 0xff]:
    case("TCP flags %02x" % bits, lambda s: eth4(ipv4(s, DST4, 6, tcp(1000, 80, bits))), (6, 1000, 80, 40), by_bits(bits))
case("TCP with options and data", lambda s: eth4(ipv4(s, DST4, 6, tcp(1, 2, 0x18, b"hello", b"\1" * 12))), (6, 1, 2, 57),
     ["psh", "ack"])
case("TCP over IPv6", lambda s6: eth6(ipv6(s6, DST6, 6, tcp(1000, 443, 2))), (6, 1000, 443, 60), ["syn"])

# ---- transports
case("UDP", lambda s: eth4(ipv4(s, DST4, 17, U)), (17, 1000, 2000, 32))
case("UDP, highest ports", lambda s: eth4(ipv4(s, DST4, 17, udp(65535, 65534))), (17, 65535, 65534, 28))
case("UDP over IPv6", lambda s6: eth6(ipv6(s6, DST6, 17, U)), (17, 1000, 2000, 52))
for name, proto in (("UDP-Lite", 136), ("SCTP", 132), ("DCCP", 33)):
    case(name, lambda s: eth4(ipv4(s, DST4, proto, struct.pack(">HH", 7, 9) + b"\0" * 12)), (proto, 7, 9, 36))
    case(name + " over IPv6", lambda s6: eth6(ipv6(s6, DST6, proto, struct.pack(">HH", 7, 9) + b"\0" * 12)), (proto, 7, 9, 56))
for name, proto in (("ICMP", 1), ("IGMP", 2), ("IP in IP", 4), ("GRE", 47), ("ESP", 50), ("protocol 255", 255), ("protocol 0", 0),
                    ("protocol 43", 43), ("AH", 51)):
    case(name + " has no ports", lambda s: eth4(ipv4(s, DST4, proto, b"\x08\0" * 16)), (proto, 0, 0, 52))
case("ICMPv6 has no ports", lambda s6: eth6(ipv6(s6, DST6, 58, b"\x80\0" * 8)), (58, 0, 0, 56))

# ---- lengths of IPv4, true and not
case("options of 40 octets", lambda s: eth4(ipv4(s, DST4, 17, U, options=b"\1" * 40)), (17, 1000, 2000, 72))
case("options of 4 octets", lambda s: eth4(ipv4(s, DST4, 6, tcp(3, 4, 2), options=b"\1" * 4)), (6, 3, 4, 44), ["syn"])
case("total length beyond the frame", lambda s: eth4(ipv4(s, DST4, 17, U, total=1500)), (17, 1000, 2000, 32), flaw="bad_length")
case("total length 65535", lambda s: eth4(ipv4(s, DST4, 17, U, total=65535)), (17, 1000, 2000, 32), flaw="bad_length")
case("total length 0: all of it", lambda s: eth4(ipv4(s, DST4, 17, U, total=0)), (17, 1000, 2000, 32))
case("total length below the header", lambda s: eth4(ipv4(s, DST4, 17, U, total=19)), "malformed")
case("total length below a header with options", lambda s: eth4(ipv4(s, DST4, 17, U, total=23, options=b"\1" * 4)), "malformed")
case("total length of the header alone", lambda s: eth4(ipv4(s, DST4, 17, U, total=20)), (17, 0, 0, 20), flaw="bad_headers")
case("total length cuts the ports", lambda s: eth4(ipv4(s, DST4, 17, U, total=23)), (17, 0, 0, 23), flaw="bad_headers")
case("total length ends behind the ports", lambda s: eth4(ipv4(s, DST4, 17, U, total=24)), (17, 1000, 2000, 24), flaw="bad_headers")
case("total length cuts the TCP header", lambda s: eth4(ipv4(s, DST4, 6, tcp(5, 6, 2), total=39)), (6, 5, 6, 39), flaw="bad_headers")
case("padding is not counted", lambda s: eth4(ipv4(s, DST4, 17, udp(5, 6))).ljust(60, b"\xff"), (17, 5, 6, 28))
case("padding behind IPv6", lambda s6: eth6(ipv6(s6, DST6, 17, udp(5, 6))).ljust(70, b"\xff"), (17, 5, 6, 48))
case("header length 4", lambda s: eth4(ipv4(s, DST4, 17, U, ihl=4)), "malformed")
case("header length 0", lambda s: eth4(ipv4(s, DST4, 17, U, ihl=0)), "malformed")
case("header length beyond the packet", lambda s: eth4(ipv4(s, DST4, 17, U, ihl=15)), "malformed")
case("header and total length beyond the frame", lambda s: eth4(ipv4(s, DST4, 17, U, ihl=15, total=72)), "malformed")
for version in (0, 3, 5, 6, 15):
    case("version %d where 4 belongs" % version, lambda s: eth4(ipv4(s, DST4, 17, U, version=version)), "malformed")
for version in (0, 4, 5, 7):
    case("version %d where 6 belongs" % version, lambda s6: eth6(ipv6(s6, DST6, 17, U, version=version)), "malformed")

# ---- lengths of IPv6
case("payload length 0", lambda s6: eth6(ipv6(s6, DST6, 17, U, length=0)), (17, 0, 0, 40), flaw="bad_headers")
case("payload length beyond the frame", lambda s6: eth6(ipv6(s6, DST6, 17, U, length=1000)), (17, 1000, 2000, 52), flaw="bad_length")
case("payload length cuts the ports", lambda s6: eth6(ipv6(s6, DST6, 17, U, length=3)), (17, 0, 0, 43), flaw="bad_headers")
case("payload length cuts the TCP header", lambda s6: eth6(ipv6(s6, DST6, 6, tcp(5, 6, 2), length=19)), (6, 5, 6, 59), flaw="bad_headers")

# ---- lengths in transport headers
for length in (0x00, 0x40):
    case("TCP, data offset %02x" % length, lambda s: eth4(ipv4(s, DST4, 6, tcp(5, 6, 2)[:12] + bytes([length]) + tcp(5, 6, 2)[13:])),
         (6, 5, 6, 40), ["syn"], flaw="bad_transport")
case("TCP, options beyond the packet", lambda s6: eth6(ipv6(s6, DST6, 6, tcp(5, 6, 2)[:12] + b"\xf0" + tcp(5, 6, 2)[13:])),
     (6, 5, 6, 60), ["syn"], flaw="bad_transport")
for length, flaw in ((0, None), (7, "bad_transport"), (8, None), (12, None), (13, "bad_transport"), (65535, "bad_transport")):
    case("UDP, length %d" % length, lambda s: eth4(ipv4(s, DST4, 17, U[:4] + struct.pack(">H", length) + U[6:])), (17, 1000, 2000, 32),
         flaw=flaw)
case("UDP, length of a whole datagram in its first fragment",
     lambda s: eth4(ipv4(s, DST4, 17, U[:4] + b"\4\0" + U[6:], flags_offset=0x2000)), (17, 1000, 2000, 32))
case("UDP-Lite, coverage 7 is no length", lambda s: eth4(ipv4(s, DST4, 136, U[:4] + b"\0\7" + U[6:])), (136, 1000, 2000, 32))

# ---- frames that end early
case("IPv4 header cut by 1", lambda s: eth4(ipv4(s, DST4, 17, b""))[:-1], "truncated")
case("IPv4 header cut to 1", lambda s: eth4(ipv4(s, DST4, 17, b""))[:15], "truncated")
case("IPv4 header and no more", lambda s: eth4(ipv4(s, DST4, 17, b"")), (17, 0, 0, 20), flaw="bad_headers")
case("IPv4 with 3 octets of UDP", lambda s: eth4(ipv4(s, DST4, 17, U)[:23]), (17, 0, 0, 23), flaw="bad_length")
case("IPv4 with 4 octets of TCP", lambda s: eth4(ipv4(s, DST4, 6, tcp(8, 9, 2))[:24]), (6, 8, 9, 24), flaw="bad_length")
case("IPv4 with 19 octets of TCP", lambda s: eth4(ipv4(s, DST4, 6, tcp(8, 9, 2))[:39]), (6, 8, 9, 39), flaw="bad_length")
case("IPv4, options cut short", lambda s: eth4(ipv4(s, DST4, 17, b"", options=b"\1" * 40)[:50]), "malformed")
case("IPv6 header cut by 1", lambda s6: eth6(ipv6(s6, DST6, 17, b""))[:-1], "truncated")
case("IPv6 header and no more", lambda s6: eth6(ipv6(s6, DST6, 17, b"")), (17, 0, 0, 40), flaw="bad_headers")
case("14 octets that promise IPv4", lambda s: eth4(b""), "truncated")
case("14 octets that promise IPv6", lambda s: eth6(b""), "truncated")
case("14 octets of something else", lambda s: ethernet(0x88b5, b""), "not_ip")
case("13 octets", lambda s: eth4(b"")[:13], "truncated", hooks=("replay",))
case("1 octet", lambda s: b"\xff", "truncated", hooks=("replay",))
case("captured short of the TCP header", lambda s: eth4(ipv4(s, DST4, 6, tcp(8, 9, 2), total=1400)[:24]), (6, 8, 9, 1400), wire=1414,
     hooks=("replay",))
case("captured short of the ports", lambda s6: eth6(ipv6(s6, DST6, 17, b"", length=100)), (17, 0, 0, 140), wire=154, hooks=("replay",))
case("captured short of the IP header", lambda s: eth4(ipv4(s, DST4, 17, b"", total=100)[:12]), "truncated", wire=114, hooks=("replay",))

# ---- fragments
case("first fragment", lambda s: eth4(ipv4(s, DST4, 17, U, flags_offset=0x2000)), (17, 1000, 2000, 32))
case("later fragment", lambda s: eth4(ipv4(s, DST4, 17, U, flags_offset=0x2001)), (17, 0, 0, 32))
case("last fragment", lambda s: eth4(ipv4(s, DST4, 6, tcp(1, 2, 2), flags_offset=0x1fff)), (6, 0, 0, 40))
case("do not fragment", lambda s: eth4(ipv4(s, DST4, 17, U, flags_offset=0x4000)), (17, 1000, 2000, 32))
case("first fragment cuts the TCP header", lambda s: eth4(ipv4(s, DST4, 6, tcp(1, 2, 2)[:8], flags_offset=0x2000)), (6, 1, 2, 28),
     flaw="bad_headers")


def fragment6(following, offset, more=1):
    return struct.pack(">BBHI", following, 0, offset << 3 | more, 77)


case("IPv6: first fragment", lambda s6: eth6(ipv6(s6, DST6, 44, fragment6(17, 0) + U)), (17, 1000, 2000, 60))
case("IPv6: later fragment", lambda s6: eth6(ipv6(s6, DST6, 44, fragment6(17, 1) + U)), (17, 0, 0, 60))
case("IPv6: last fragment of TCP", lambda s6: eth6(ipv6(s6, DST6, 44, fragment6(6, 8191, 0) + tcp(1, 2, 2))), (6, 0, 0, 68))
case("IPv6: a whole packet in a fragment header", lambda s6: eth6(ipv6(s6, DST6, 44, fragment6(6, 0, 0) + tcp(1, 2, 2))),
     (6, 1, 2, 68), ["syn"])


# ---- IPv6 extension headers
def extension(following, length=0, octets=None):
    """A header of 8 + 8 × length octets."""
    return bytes([following, length]) + b"\0" * (6 + 8 * length if octets is None else octets - 2)


for name, proto in (("hop-by-hop", 0), ("routing", 43), ("destination", 60), ("mobility", 135), ("HIP", 139), ("shim6", 140)):
    for length in (0, 1, 5):
        case("IPv6: %s options, length %d" % (name, length),
             lambda s6: eth6(ipv6(s6, DST6, proto, extension(17, length) + U)), (17, 1000, 2000, 60 + 8 * length))
for length in (0, 1, 4, 5):
    case("IPv6: AH of length %d" % length,
         lambda s6: eth6(ipv6(s6, DST6, 51, extension(6, length, 8 + 4 * length) + tcp(1, 2, 2))), (6, 1, 2, 68 + 4 * length), ["syn"])
case("IPv6: ESP ends it", lambda s6: eth6(ipv6(s6, DST6, 50, U)), (50, 0, 0, 52))
case("IPv6: hop-by-hop, then ESP", lambda s6: eth6(ipv6(s6, DST6, 0, extension(50) + U)), (50, 0, 0, 60))
case("IPv6: no next header", lambda s6: eth6(ipv6(s6, DST6, 59, U)), (59, 0, 0, 52))
case("IPv6: destination options, then no next header", lambda s6: eth6(ipv6(s6, DST6, 60, extension(59) + U)), (59, 0, 0, 60))
case("IPv6: one of every kind", lambda s6: eth6(ipv6(s6, DST6, 0, extension(60) + extension(43) + extension(44, 2) + fragment6(51, 0, 0) +
                                                     extension(17, 1, 12) + U)), (17, 1000, 2000, 40 + 8 + 8 + 24 + 8 + 12 + 12))
for many in (2, 7, 8):
    case("IPv6: %d extension headers" % many,
         lambda s6: eth6(ipv6(s6, DST6, 60, extension(60) * (many - 1) + extension(6) + tcp(1, 2, 2))), (6, 1, 2, 60 + 8 * many), ["syn"])
case("IPv6: 9 extension headers are too many", lambda s6: eth6(ipv6(s6, DST6, 60, extension(60) * 8 + extension(17) + U)),
     (60, 0, 0, 40 + 72 + 12), flaw="bad_headers")
case("IPv6: extension header longer than the packet", lambda s6: eth6(ipv6(s6, DST6, 60, extension(17, 255, 8) + U)), (17, 0, 0, 60),
     flaw="bad_headers")
case("IPv6: extension header cut short", lambda s6: eth6(ipv6(s6, DST6, 60, b"\x11\0\0\0")), (60, 0, 0, 44), flaw="bad_headers")
case("IPv6: extension header ends the packet", lambda s6: eth6(ipv6(s6, DST6, 60, extension(17))), (17, 0, 0, 48), flaw="bad_headers")

# ---- links
case("ARP", lambda s: ethernet(0x0806, struct.pack(">HHBBH", 1, 0x0800, 6, 4, 1) + b"\0" * 20), "not_ip")
case("LLC", lambda s: ethernet(38, b"\x42\x42\x03" + b"\0" * 35), "not_ip")
def labels(*stack):
    """MPLS labels, the last with the bottom bit."""
    return b"".join(struct.pack(">I", label << 12 | (i == len(stack) - 1) << 8 | 64) for i, label in enumerate(stack))


def pppoe(protocol, payload, length=None, code=0, version=0x11):
    return struct.pack(">BBHHH", version, code, 7, len(payload) + 2 if length is None else length, protocol) + payload


def snap(ethertype, payload, oui=b"\0\0\0"):
    body = b"\xaa\xaa\x03" + oui + struct.pack(">H", ethertype) + payload
    return ethernet(len(body), body)


for many in (1, 2, 8):
    case("MPLS, %d labels" % many, lambda s: ethernet(0x8847, labels(*range(100, 100 + many)) + ipv4(s, DST4, 17, U)), (17, 1000, 2000, 32))
case("MPLS multicast, IPv6", lambda s6: ethernet(0x8848, labels(16) + ipv6(s6, DST6, 6, tcp(1, 2, 2))), (6, 1, 2, 60), ["syn"])
case("MPLS behind a tag", lambda s: ethernet(0x8847, labels(16, 17) + ipv4(s, DST4, 17, U), [(VLAN, 7)]), (17, 1000, 2000, 32))
case("MPLS, 9 labels are too many", lambda s: ethernet(0x8847, labels(*range(9)) + ipv4(s, DST4, 17, U)), "not_ip")
case("MPLS with a control word", lambda s: ethernet(0x8847, labels(16) + b"\0\0\0\1" + eth4(ipv4(s, DST4, 17, U))), "not_ip")
case("MPLS, label cut short", lambda s: ethernet(0x8847, b"\0\1\1"), "truncated")
case("MPLS, nothing behind the last label", lambda s: ethernet(0x8847, labels(16)), "truncated")
case("MPLS, no last label", lambda s: ethernet(0x8847, labels(16, 17)[:4]), "truncated")
case("PPPoE", lambda s: ethernet(0x8864, pppoe(0x21, ipv4(s, DST4, 17, U))), (17, 1000, 2000, 32))
case("PPPoE, IPv6", lambda s6: ethernet(0x8864, pppoe(0x57, ipv6(s6, DST6, 6, tcp(1, 2, 2)))), (6, 1, 2, 60), ["syn"])
case("PPPoE behind two tags", lambda s: ethernet(0x8864, pppoe(0x21, ipv4(s, DST4, 17, U)), [(QINQ, 7), (VLAN, 7)]), (17, 1000, 2000, 32))
case("PPPoE, padding behind it", lambda s: ethernet(0x8864, pppoe(0x21, ipv4(s, DST4, 17, U, total=0))[:40] + b"\0" * 20),
     (17, 1000, 2000, 32))
case("PPPoE, LCP", lambda s: ethernet(0x8864, pppoe(0xc021, b"\1\1\0\4")), "not_ip")
case("PPPoE, another version", lambda s: ethernet(0x8864, pppoe(0x21, ipv4(s, DST4, 17, U), version=0x21)), "not_ip")
case("PPPoE, discovery's code", lambda s: ethernet(0x8864, pppoe(0x21, ipv4(s, DST4, 17, U), code=9)), "not_ip")
case("PPPoE that claims too much", lambda s: ethernet(0x8864, pppoe(0x21, ipv4(s, DST4, 17, U), length=1000)), (17, 1000, 2000, 32),
     flaw="bad_length")
case("PPPoE that claims nothing", lambda s: ethernet(0x8864, pppoe(0x21, ipv4(s, DST4, 17, U), length=0)), (17, 1000, 2000, 32),
     flaw="bad_length")
case("PPPoE that is too short for IP", lambda s: ethernet(0x8864, pppoe(0x21, ipv4(s, DST4, 17, U), length=12)), "truncated")
case("PPPoE cut short", lambda s: ethernet(0x8864, pppoe(0x21, b"")[:-1]), "truncated")
case("SNAP", lambda s: snap(IPV4, ipv4(s, DST4, 17, U)), (17, 1000, 2000, 32))
case("SNAP, IPv6", lambda s6: snap(IPV6, ipv6(s6, DST6, 17, U)), (17, 1000, 2000, 52))
case("SNAP of another organisation", lambda s: snap(IPV4, ipv4(s, DST4, 17, U), oui=b"\0\0\x0c"), "not_ip")
case("SNAP, padding behind it", lambda s: snap(IPV4, ipv4(s, DST4, 17, U, total=0)) + b"\0" * 30, (17, 1000, 2000, 32))
case("SNAP, cut short", lambda s: ethernet(7, b"\xaa\xaa\x03\0\0\0\x08"), "not_ip")
case("EtherType 9100", lambda s: ethernet(0x9100, b"\0\1\x08\0" + ipv4(s, DST4, 17, U)), "not_ip")
for tags in ([VLAN], [QINQ], [QINQ, VLAN], [VLAN, VLAN], [QINQ, QINQ, VLAN], [VLAN, VLAN, VLAN]):
    name = "+".join("%04x" % tag for tag in tags)
    case("tags " + name, lambda s: eth4(ipv4(s, DST4, 17, U), [(t, 7) for t in tags]), (17, 1000, 2000, 32))
    case("tags %s, IPv6" % name, lambda s6: eth6(ipv6(s6, DST6, 6, tcp(1, 2, 2)), [(t, 0xe007) for t in tags]), (6, 1, 2, 60), ["syn"])
# At TC ingress the kernel has taken the outermost tag off already, so there is room for one more.
case("four tags", lambda s: eth4(ipv4(s, DST4, 17, U), [(VLAN, 7)] * 4), "not_ip", instead={"tc.ingress": (17, 1000, 2000, 32)})
case("five tags", lambda s: eth4(ipv4(s, DST4, 17, U), [(VLAN, 7)] * 5), "not_ip")
case("a tag and ARP", lambda s: ethernet(0x0806, b"\0" * 28, [(VLAN, 7)]), "not_ip")
case("a tag and padding", lambda s: eth4(ipv4(s, DST4, 17, udp(5, 6)), [(VLAN, 7)]).ljust(64, b"\xff"), (17, 5, 6, 28))
# The kernel drops what it cannot take the tag from, in front of TC ingress.
case("a tag cut short", lambda s: ethernet(VLAN, b"\0\7"), "truncated", hooks=("replay", "xdp", "tc.egress"))


def expected(hook):
    """(rows as lab.sum_rows has them, { reason: packets }, packets, frame octets) of all that this hook sees."""
    rows, reasons, seen = {}, {"not_ip": 0, "truncated": 0, "malformed": 0}, [c for c in CASES if hook in c.hooks]
    for one in seen:
        if one.key(hook):
            rows[one.key(hook)] = one.values(hook)
        else:
            reasons[one.at(hook)] += 1
    return rows, reasons, len(seen), sum(one.wire for one in seen)


POLICY = """
local iface = option "iface" { type = "iface" }
local hook = option "hook" { default = "xdp", one_of = { "xdp", "tc.ingress", "tc.egress" } }
local window = option "window" { default = "1s" }
return policy "table" {
  attach = { iface = iface, hook = hook }, window = window,
  always = { counter "totals" { features = { "tcp_flags" } }, flows "rows" { key = "5tuple", features = { "tcp_flags" } } },
}
"""


def counter(events, where=lambda event: True):
    """Sums of the probe `totals`."""
    sums = {}
    for event in lab.of(events, "records", probe="totals"):
        if where(event):
            for row in event["rows"]:
                for field in row:
                    if field != "direction":
                        sums[field] = sums.get(field, 0) + row[field]
    return sums
