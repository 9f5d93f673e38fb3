/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Ports of fragments that have none of their own: those of the datagram's first fragment, if it came before. Nothing is put together.
 * The table is state that outlives windows; when it is full the least recently used goes, and its later fragments have port 0.
 */
#ifndef PERILUNE_DEFRAG_H
#define PERILUNE_DEFRAG_H

#define DEFRAG_DATAGRAMS 4096

struct datagram_id {
	struct ip_addr src;
	struct ip_addr dst;
	__u32 id;
	ip_proto proto;
	__u8 ip_version;
	__u16 unused;
};

#define DEFRAG_MAP(MAP)                                                                            \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_LRU_HASH);                                               \
		__type(key, struct datagram_id);                                                   \
		__type(value, struct ports);                                                       \
		__uint(max_entries, DEFRAG_DATAGRAMS);                                             \
	} MAP SEC(".maps")

/* The ports of the datagram that these headers are of; false where they are not known. */
static __always_inline bool defrag__ports(void *map, const struct packet *h, struct ports *ports)
{
	struct datagram_id key = {.src = h->src,
				  .dst = h->dst,
				  .id = h->ip_id,
				  .proto = h->proto,
				  .ip_version = h->ip_version};
	const struct ports *first;

	ports->source = h->sport;
	ports->dest = h->dport;
	if (!h->fragmented)
		return true;
	if (!h->fragment) {
		bpf_map_update_elem(map, &key, ports, BPF_ANY);
		return true;
	}
	first = bpf_map_lookup_elem(map, &key);
	if (!first)
		return false;
	*ports = *first;
	return true;
}

#endif
