/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records for the tests, seen by two compilers: as BTF by clang for BPF (records.bpf.c), as structs by the test's own.
 */
#ifndef PERILUNE_TESTS_RECORDS_H
#define PERILUNE_TESTS_RECORDS_H

#include "bpf/types.h"

enum state {
	STATE_OPEN = 1,
	STATE_SHUT = 2,
	STATE_FAR = 0xffffffff,
};

enum error_code {
	ERROR_NONE,
	ERROR_LOST = -7,
};

enum wide {
	WIDE_ONE = 1,
	WIDE_HUGE = 0xf000000000000000ULL,
};

struct point {
	__u32 x;
	__s16 y;
};

struct test_key {
	struct ip_addr src, dst;
	__be16 sport, dport;
	ip_proto proto;
	__u8 ip_version;
	__u8 pad[2];
};

struct test_value {
	__u64 packets;
	volatile __u64 bytes;
	__s64 drift;
	wall_ns first, last;
	bool seen;
	signed char small;
	__u16 count;
	enum state state;
	enum error_code error;
	enum wide wide;
	char comm[16];
	__u8 mac[6];
	__be32 net;
	__be64 id;
	__u32 sizes[3];
	__u64 grid[2][2];
	__be16 ports[2];
	char names[2][4];
	struct ip_addr hops[2];
	struct point at;
	struct {
		__u32 inlined;
		struct {
			__u32 deeper;
		};
	};
	union {
		__u32 word;
		__u8 octets[4];
	} either;
	union {
		__u16 half;
	};
	__u32 low : 3, middle : 13, high : 16;
	const void *where;
	struct point many[2];
	__int128 big;
	__u64 _hidden;
	__u32 padding[3];
	__u8 tail;
} __attribute__((packed));

struct same_names {
	__u8 proto, other;
};

#endif
