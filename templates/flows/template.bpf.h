/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * flows: a row for every key seen in a window. The key is made of the fields that KEY_… name; IPv4 and IPv6 share it.
 * A packet whose row does not fit counts in `other` instead, so rows + other = every IP packet the probe saw.
 */

struct NAME(key) {
#include <key_members.h>
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 skbs;
	__u64 bytes;
#ifdef FEATURE_biflow
	__u64 packets_back;
	__u64 bytes_back;
#endif
#ifdef FEATURE_tcp_flags
	TCP_FLAG_COUNTS;
#endif
#ifdef FEATURE_size_hist
	__u64 sizes[SIZE_CLASSES];
#endif
#if defined(FEATURE_tunnel) && !defined(KEY_tunnel)
	enum tunnel tunnel;
#endif
#if defined(FEATURE_tunnel) && !defined(KEY_tunnel_id)
	__u32 tunnel_id;
#endif
#ifdef FEATURE_ttl
	__u8 ttl_min;
	__u8 ttl_max;
#endif
#if defined(FEATURE_tos) && !defined(KEY_tos)
	__u8 tos;
#endif
#if defined(FEATURE_vlan) && !defined(KEY_vlan)
	__u16 vlan;
#endif
#ifdef FEATURE_vlan
	__u16 inner_vlan;
#endif
#ifdef FEATURE_mpls
	__u32 label;
#endif
#if defined(FEATURE_direction) && !defined(KEY_direction)
	enum direction direction;
#endif
#if defined(FEATURE_interface) && !defined(KEY_ifindex)
	if_index ifindex;
#endif
#ifdef FEATURE_timing
	wall_ns first;
	wall_ns last;
#endif
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
SCRATCH(NAME(fresh), struct NAME(value));

#include <key_fill.h>

#ifdef FEATURE_biflow
#if defined(KEY_sport) != defined(KEY_dport)
#error "flows: with biflow, the key has both ports or none"
#endif
/* Both ways of a conversation have one row: its src is the end whose address, then port, is lower. True for packets from dst. */
static __always_inline bool NAME(turn)(struct NAME(key) * key)
{
	int order = ip_addr__order(&key->src, &key->dst);
	struct ip_addr src = key->src;
#ifdef KEY_sport
	__be16 port = key->sport;

	if (!order && bpf_ntohs(key->sport) > bpf_ntohs(key->dport))
		order = 1;
	if (order > 0) {
		key->sport = key->dport;
		key->dport = port;
	}
#endif
	if (order <= 0)
		return false;
	key->src = key->dst;
	key->dst = src;
	return true;
}
#endif

#ifdef FEATURE_timing
static __always_inline void NAME(note_time)(struct NAME(value) * value, wall_ns now)
{
	if (!value->first || now < value->first)
		value->first = now;
	if (now > value->last)
		value->last = now;
}
#endif

/* What describes the row's first packet of the window, and stays. */
static __always_inline void NAME(describe)(struct NAME(value) * value, struct packet *p,
					   const struct packet *h)
{
	(void)value, (void)p, (void)h;
#ifdef FEATURE_timing
	value->first = clock__wall(p); /* so that no other CPU sees a row without one */
#endif
#if defined(FEATURE_tunnel) && !defined(KEY_tunnel)
	value->tunnel = p->tunnel;
#endif
#if defined(FEATURE_tunnel) && !defined(KEY_tunnel_id)
	value->tunnel_id = p->tunnel_id;
#endif
#ifdef FEATURE_ttl
	value->ttl_min = h->ttl;
	value->ttl_max = h->ttl;
#endif
#if defined(FEATURE_tos) && !defined(KEY_tos)
	value->tos = h->tos;
#endif
#if defined(FEATURE_vlan) && !defined(KEY_vlan)
	value->vlan = p->tags ? p->vlan[0] & VLAN_ID : 0;
#endif
#ifdef FEATURE_vlan
	value->inner_vlan = p->tags > 1 ? p->vlan[1] & VLAN_ID : 0;
#endif
#ifdef FEATURE_mpls
	value->label = p->label >> 12;
#endif
#if defined(FEATURE_direction) && !defined(KEY_direction)
	value->direction = p->direction;
#endif
#if defined(FEATURE_interface) && !defined(KEY_ifindex)
	value->ifindex = packet__ifindex(p);
#endif
}

#ifdef FEATURE_ttl
/* Written only where it changes, which is hardly ever. */
static __always_inline void NAME(note_ttl)(struct NAME(value) * value, __u8 ttl)
{
	if (ttl < value->ttl_min)
		value->ttl_min = ttl;
	if (ttl > value->ttl_max)
		value->ttl_max = ttl;
}
#endif

static __always_inline void NAME(count)(struct NAME(value) * value, const struct packet *p,
					const struct packet *h, bool back, const bool shared)
{
	count__in(shared, value->packets, p->segments);
	count__in(shared, value->skbs, 1);
	count__in(shared, value->bytes, packet__bytes(h));
#ifdef FEATURE_biflow
	if (back) {
		count__in(shared, value->packets_back, p->segments);
		count__in(shared, value->bytes_back, packet__bytes(h));
	}
#endif
#ifdef FEATURE_tcp_flags
	tcp_flags__count(value, h, shared);
#endif
#ifdef FEATURE_size_hist
	count__in(shared, value->sizes[size__class(p, h)], p->segments);
#endif
	(void)back;
}

static __always_inline struct NAME(value) *
	NAME(row)(const struct NAME(key) * key, struct packet *p, const struct packet *h)
{
	struct NAME(value) *value = half__find(&NAME(rows), p->half, key);
	struct NAME(value) * fresh;

	if (value)
		return value;
	fresh = scratch__value(&NAME(fresh));
	if (!fresh)
		return NULL;
	NAME(describe)(fresh, p, h);
	return half__row(&NAME(rows), p->half, key, fresh);
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	const struct packet *h = p;
	struct NAME(value) * value;
	struct NAME(key) key;
	bool back = false;

	if (p->parsed != PARSED)
		return;
#ifdef FEATURE_tunnel
	if (p->inner)
		h = p->inner;
#endif
	NAME(fill_key)(&key, p, h);
	key.ip_version = h->ip_version;
#ifdef FEATURE_biflow
	back = NAME(turn)(&key);
#endif
	value = NAME(row)(&key, p, h);
	if (value) {
		NAME(count)(value, p, h, back, true);
	} else {
		value = half__value(&NAME(other), p->half, 1, 0);
		if (!value)
			return;
		NAME(count)(value, p, h, back, false);
	}
#ifdef FEATURE_ttl
	NAME(note_ttl)(value, h->ttl);
#endif
#ifdef FEATURE_timing
	NAME(note_time)(value, clock__wall(p));
#endif
}
