/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Sets of a policy that limit probes: a probe with a scope sees only packets whose address, port, protocol or flow is in the set. The
 * runtime adds and removes members; a packet that is not in scope costs one lookup, or two where either end may be the one.
 * Exported sets are the same maps: their layout is a promise to other programs (lua/perilune/build/exports.lua).
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

#define SCOPE_PORTS(SET, ENTRIES)                                                                  \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__type(key, __be16);                                                               \
		__type(value, __u8);                                                               \
		__uint(max_entries, ENTRIES);                                                      \
	} SET SEC(".maps")

#define SCOPE_PROTOS(SET, ENTRIES)                                                                 \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__type(key, ip_proto);                                                             \
		__type(value, __u8);                                                               \
		__uint(max_entries, ENTRIES);                                                      \
	} SET SEC(".maps")

struct scope_flow {
	struct ip_addr src;
	struct ip_addr dst;
	__be16 sport;
	__be16 dport;
	ip_proto proto;
	__u8 pad[3];
};

#define SCOPE_FLOWS(SET, ENTRIES)                                                                  \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__type(key, struct scope_flow);                                                    \
		__type(value, __u8);                                                               \
		__uint(max_entries, ENTRIES);                                                      \
	} SET SEC(".maps")

/* `member`: an address, a port or a protocol, as the set has them. */
static __always_inline bool scope__has(void *set, const void *member)
{
	return bpf_map_lookup_elem(set, member);
}

static __always_inline bool scope__has_flow(void *set, const struct packet *h)
{
	struct scope_flow flow = {.src = h->src,
				  .dst = h->dst,
				  .sport = h->sport,
				  .dport = h->dport,
				  .proto = h->proto};

	return bpf_map_lookup_elem(set, &flow);
}

/* Either way: such a member's src is the end whose address, then port, is lower. */
static __always_inline bool scope__has_biflow(void *set, const struct packet *h)
{
	int order = ip_addr__order(&h->src, &h->dst);
	bool turn = order > 0 || (!order && bpf_ntohs(h->sport) > bpf_ntohs(h->dport));
	struct scope_flow flow = {.src = turn ? h->dst : h->src,
				  .dst = turn ? h->src : h->dst,
				  .sport = turn ? h->dport : h->sport,
				  .dport = turn ? h->sport : h->dport,
				  .proto = h->proto};

	return bpf_map_lookup_elem(set, &flow);
}

static __always_inline bool scope__covers(void *set, const struct ip_addr *addr)
{
	struct scope_net net = {.bits = 128, .addr = *addr};

	return bpf_map_lookup_elem(set, &net);
}

#endif
