/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What captures are told, and what they tell: shared memory, and events of a ring buffer. Included by BPF programs and by the runtime (after
 * <linux/types.h>), so that there is one description of it.
 */
#ifndef PERILUNE_TAP_FORMAT_H
#define PERILUNE_TAP_FORMAT_H

#define TAP_SLOTS 32	   /* captures at a time */
#define TAP_SETS 8	   /* sets that captures are limited by */
#define TAP_SNAP_MAX 16384 /* bytes of a frame */
#define TAP_RING 4194304   /* bytes */

/* Bits are slots. */
struct tap_state {
	__u32 armed;		/* captures that go on */
	__u32 everything;	/* those that take every packet */
	__u32 in_set[TAP_SETS]; /* those that take what is in a set */
	__u32 snap;		/* bytes that the longest of them wants */
	__u32 pad;
	__u64 lost; /* packets that found no room in the ring */
};

/* What a suspect is known by. */
enum tap_field { TAP_SRC, TAP_DST, TAP_SPORT, TAP_DPORT };

struct tap_key {
	__u8 value[16]; /* an address, or a port in network byte order and zeros */
	__u32 field;	/* enum tap_field */
};

/* The frame's bytes follow. */
struct tap_event {
	__u64 time;  /* ns since the epoch */
	__u32 slots; /* whose packet it is */
	__u32 wire;  /* bytes that the hook saw, without a tag beside the frame */
	__u32 kept;  /* bytes that follow */
	__u32 ifindex;
	__u32 segments; /* packets on the wire that offloads have made one of */
	__u16 tci;	/* of the tag that the kernel keeps beside the frame */
	__u16 tag;	/* its ethertype, in network byte order; 0: there is none */
	__u8 egress;
	__u8 pad[7];
};

#endif
