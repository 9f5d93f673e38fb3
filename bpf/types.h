/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Types that say what a number means.
 *
 * BTF carries these names to every reader of a record, which then shows an address as an address. Use them in keys and values.
 */
#ifndef PERILUNE_TYPES_H
#define PERILUNE_TYPES_H

/* An IPv6 address, or an IPv4 address as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), in network order. */
struct ip_addr {
	__u8 octets[16];
} __attribute__((aligned(4)));

/* An IPv4 address in network order. */
typedef __be32 ipv4_addr;

/* A MAC address. */
typedef __u8 mac_addr[6];

/* Nanoseconds since the epoch, UTC. */
typedef __u64 wall_ns;

/* IANA protocol number. */
typedef __u8 ip_proto;

/* Bits that each say something: shown as "0x12" and "0x0012", as tshark does. */
typedef __u8 flags8;
typedef __u16 flags16;
typedef __u32 flags32;

/* Interface index, in the network namespace of whoever reads it. */
typedef __u32 if_index;

/*
 * The same for a member whose type cannot be changed: MEANING is "ipv4" (4 bytes in network order), "ipv6" (16 bytes), "mac", "port",
 * "protocol", "flags", "timestamp" (ns since the epoch) or "ifindex". As in: __u32 saddr SHOW_AS("ipv4");
 */
#define SHOW_AS(MEANING) __attribute__((btf_decl_tag("show_as:" MEANING)))

/* Which way a packet crosses the interface. */
enum direction {
	ingress = 0,
	egress = 1,
};

#endif
