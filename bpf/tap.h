/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Captures: copies of suspects' packets, through a ring buffer. Only the programs of a policy that captures have any of this; while no capture
 * goes on, a packet pays for one look at `tap.armed`.
 */
#ifndef PERILUNE_TAP_H
#define PERILUNE_TAP_H

#include "tap_format.h"

#ifdef HOOK_TAP

struct tap_state tap SEC(".data.tap");

RING(tap_events, TAP_RING);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, struct tap_key);
	__type(value, __u32);
	__uint(max_entries, 2 * TAP_SLOTS);
} tap_suspects SEC(".maps");

struct tap_packet {
	struct tap_event event;
	__u8 bytes[TAP_SNAP_MAX];
};

SCRATCH(tap_scratch, struct tap_packet);

static __always_inline __u32 tap__of(const struct tap_key *key)
{
	__u32 *slots = bpf_map_lookup_elem(&tap_suspects, key);

	return slots ? *slots : 0;
}

static __always_inline __u32 tap__address(const struct ip_addr *addr, __u32 field)
{
	struct tap_key key = {.field = field};

	__builtin_memcpy(key.value, addr, sizeof(key.value));
	return tap__of(&key);
}

static __always_inline __u32 tap__port(__be16 port, __u32 field)
{
	struct tap_key key = {.field = field};

	__builtin_memcpy(key.value, &port, sizeof(port));
	return tap__of(&key);
}

static __always_inline void tap__send(struct packet *p, __u32 slots)
{
	struct tap_packet *out = scratch__value(&tap_scratch);
	__u32 len = packet__here(p), snap = *(volatile __u32 *)&tap.snap;

	if (!out)
		return;
	if (len > snap)
		len = snap;
	asm volatile("" : "+r"(len)); /* the bounds below are the verifier's to see */
	if (!len || len > TAP_SNAP_MAX || packet__load(p, 0, out->bytes, len))
		return;
	out->event = (struct tap_event){
		.time = clock__wall(p),
		.slots = slots,
		.kept = len,
		.ifindex = packet__ifindex(p),
		.segments = p->segments,
		.egress = p->direction == egress,
	};
#ifdef HOOK_XDP
	out->event.wire = ctl.wire ? ctl.wire : packet__here(p);
#else
	out->event.wire = packet__context(p)->len;
	if (packet__context(p)->vlan_present) {
		out->event.tci = (__u16)packet__context(p)->vlan_tci;
		out->event.tag = (__u16)packet__context(p)->vlan_proto;
	}
#endif
	if (ring__send(&tap_events, &tap_events_lost, p->half, out, sizeof(out->event) + len))
		__sync_fetch_and_add(&tap.lost, 1);
}

#endif
#endif
