/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * The control block of a policy: what the runtime says to its programs, and what they read once per packet.
 *
 * It is one cache line of memory that both sides share (a memory-mapped array). Changing the level is one store, flipping the
 * window is one store, and both together are one store too, because they share eight bytes. Included by BPF programs (after
 * kernel_types.h) and by the runtime (after <linux/types.h>), so that there is one description of it.
 */
#ifndef PERILUNE_CTL_H
#define PERILUNE_CTL_H

/*
 * Read and written as a whole: a packet never sees the epoch of one moment and the level of another. All of it changes only together
 * with the epoch, so that a window has one level, one sampling rate and one set of probes. (A trigger that trips while a half is
 * still to be drained raises the level without; that window ends as soon as it can.)
 */
union ctl_state {
	struct {
		__u32 epoch; /* windows so far; its lowest bit names the half that is written */
		__u8 level;  /* index of the level in force; 0 is the cheapest */
		__u8 thin;   /* sampled probes look at one packet in (their own rate << thin) */
		__u16 shed;  /* bit i: the i-th probe that the budget may shed is off */
	};
	__u64 both;
};

struct ctl {
	union ctl_state state;
	__u64 renewed; /* CLOCK_MONOTONIC ns when the runtime was last heard of, from which leases run; 0: they do not */
	__u64 wall_offset; /* ns to add to CLOCK_BOOTTIME to get the time since the epoch */
	__u64 now;	   /* replay: the capture's time, ns since the epoch; 0 when live */
	__u32 wire;	   /* replay: bytes the frame had on the wire; 0 when live */
	/* For triggers, which may change `state` as well (trigger.h). */
	__u32 ready; /* the epoch that may begin now; another than state.epoch + 1: none, a half is still to be drained */
	__u16 armed; /* bit i: the i-th trigger is tested */
	__u16 raising;	  /* bit i: it may raise the level */
	__u32 flipped;	  /* the last epoch that a trigger has begun; set after the two below */
	__u64 flipped_at; /* when, as `renewed` or, in a replay, as `now` */
	__u8 flipped_to;  /* its level then */
	__u8 pad[7];
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct ctl) == 64, "the control block is one cache line");

#endif
