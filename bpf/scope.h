/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Sets of a policy that limit probes: a probe with a scope sees only packets whose address is in
 * the set. The runtime adds and removes members; a packet that is not in scope costs one lookup.
 */
#ifndef PERILUNE_SCOPE_H
#define PERILUNE_SCOPE_H

/* Addresses. */
#define SCOPE_ADDRESSES(SET, ENTRIES)                                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__type(key, struct ip_addr);                                                       \
		__type(value, __u8);                                                               \
		__uint(max_entries, ENTRIES);                                                      \
	} SET SEC(".maps")

struct scope_net {
	__u32 bits; /* leading bits of `addr` that count; of IPv4, 96 and those of its prefix */
	struct ip_addr addr;
};

/* Addresses and subnets: the longest match takes several times as long as a hash. */
#define SCOPE_NETS(SET, ENTRIES)                                                                   \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_LPM_TRIE);                                               \
		__uint(map_flags, 1U /* BPF_F_NO_PREALLOC */);                                     \
		__type(key, struct scope_net);                                                     \
		__type(value, __u8);                                                               \
		__uint(max_entries, ENTRIES);                                                      \
	} SET SEC(".maps")

static __always_inline bool scope__has(void *set, const struct ip_addr *addr)
{
	return bpf_map_lookup_elem(set, addr);
}

static __always_inline bool scope__covers(void *set, const struct ip_addr *addr)
{
	struct scope_net net = {.bits = 128, .addr = *addr};

	return bpf_map_lookup_elem(set, &net);
}

#endif
