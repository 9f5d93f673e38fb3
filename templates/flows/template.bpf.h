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
#ifdef FEATURE_server
	enum server_end server;
	enum server_method method;
#endif
#ifdef FEATURE_end_reason
	enum flow_end end_reason;
#endif
#ifdef FEATURE_defrag
	__u64 fragments;
	__u64 unmatched;
#endif
#ifdef FEATURE_once
	__u64 elsewhere;
#endif
#ifdef FEATURE_timing
	wall_ns first;
	wall_ns last;
#endif
#ifdef FEATURE_gaps
	__u64 gaps[TIME_CLASSES];
#endif
};

#if defined(FEATURE_server) || defined(FEATURE_end_reason)
SERVER_SESSIONS(NAME(sessions), KNOB_sessions);
#endif
#ifdef FEATURE_defrag
DEFRAG_MAP(NAME(datagrams));
#endif
#ifdef FEATURE_once
struct NAME(place) {
	__u32 ifindex;
	__u32 direction;
};

/* Where keys were first seen. What is forgotten is counted where it is seen next. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct NAME(key));
	__type(value, struct NAME(place));
	__uint(max_entries, KNOB_sessions);
} NAME(places) SEC(".maps");

/* Whether a packet of this key is to be counted here. */
static __always_inline bool NAME(is_here)(const struct NAME(key) * key, const struct packet *p)
{
	struct NAME(place) here = {.ifindex = packet__ifindex(p), .direction = p->direction},
			   *place;

	place = bpf_map_lookup_elem(&NAME(places), key);
	if (!place) {
		bpf_map_update_elem(&NAME(places), key, &here, BPF_NOEXIST);
		place = bpf_map_lookup_elem(&NAME(places), key);
	}
	return !place || (place->ifindex == here.ifindex && place->direction == here.direction);
}
#endif

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
static __always_inline void NAME(note_time)(struct NAME(value) * value, struct packet *p,
					    const bool shared)
{
	wall_ns now = clock__wall(p);

#ifdef FEATURE_gaps
	/* Of a merged packet's segments, all but the first follow at once. */
	if (value->last)
		count__in(shared,
			  value->gaps[time__class(now > value->last ? now - value->last : 0)],
			  weighted(p, 1));
	if (p->segments > 1)
		count__in(shared, value->gaps[0], weighted(p, p->segments - 1));
#endif
	(void)shared;
	clock__span(value, now);
}
#endif

/* What describes the row's first packet of the window, and stays. */
static __always_inline void NAME(describe)(struct NAME(value) * value, struct packet *p,
					   const struct packet *h)
{
	(void)value, (void)p, (void)h;
#ifdef FEATURE_timing
	value->first = clock__wall(p);
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

/* What a packet is beside its headers. */
struct NAME(about) {
	bool back;	/* it goes from dst to src */
	bool unmatched; /* a fragment whose ports are not known */
	bool elsewhere; /* its key is counted at another place */
	struct ports ports;
	struct server server;
};

#if defined(FEATURE_server) || defined(FEATURE_end_reason)
static __always_inline void NAME(note_session)(struct NAME(value) * value, const struct packet *h,
					       const struct NAME(about) * about)
{
#ifdef FEATURE_server
	value->server = about->server.is_dst != about->back ? dst_serves : src_serves;
	value->method = about->server.method;
#endif
#ifdef FEATURE_end_reason
	if (value->end_reason)
		return;
	if (about->server.restarted)
		value->end_reason = idle;
	else if (h->tcp_flags & TCP_RST)
		value->end_reason = rst;
	else if (h->tcp_flags & TCP_FIN)
		value->end_reason = fin;
#endif
	(void)h;
}
#endif

/* Rows are shared by all CPUs; what did not fit is each CPU's own. */
static __always_inline void NAME(count)(struct NAME(value) * value, struct packet *p,
					const struct packet *h, const struct NAME(about) * about,
					const bool shared)
{
#ifdef FEATURE_once
	if (about->elsewhere) {
		count__in(shared, value->elsewhere, weighted(p, p->segments));
		return;
	}
#endif
	count__in(shared, value->packets, weighted(p, p->segments));
	count__in(shared, value->skbs, weighted(p, 1));
	count__in(shared, value->bytes, weighted(p, packet__bytes(h)));
#ifdef FEATURE_biflow
	if (about->back) {
		count__in(shared, value->packets_back, weighted(p, p->segments));
		count__in(shared, value->bytes_back, weighted(p, packet__bytes(h)));
	}
#endif
#ifdef FEATURE_tcp_flags
	tcp_flags__count(value, p, h, shared);
#endif
#ifdef FEATURE_size_hist
	count__in(shared, value->sizes[size__class(p, h)], weighted(p, p->segments));
#endif
#ifdef FEATURE_defrag
	if (h->fragment)
		count__in(shared, value->fragments, weighted(p, p->segments));
	if (about->unmatched)
		count__in(shared, value->unmatched, weighted(p, p->segments));
#endif
#ifdef FEATURE_ttl
	NAME(note_ttl)(value, h->ttl);
#endif
#ifdef FEATURE_timing
	NAME(note_time)(value, p, shared);
#endif
#if defined(FEATURE_server) || defined(FEATURE_end_reason)
	NAME(note_session)(value, h, about);
#endif
	(void)about;
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

/* The ports of a fragment's datagram. */
#ifdef FEATURE_defrag
static __always_inline void NAME(fill_ports)(struct NAME(key) * key, struct NAME(about) * about,
					     const struct packet *h)
{
	about->unmatched = !defrag__ports(&NAME(datagrams), h, &about->ports);
#ifdef KEY_sport
	key->sport = about->ports.source;
#endif
#ifdef KEY_dport
	key->dport = about->ports.dest;
#endif
	(void)key;
}
#endif

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(about) about = {};
	const struct packet *h = p;
	struct NAME(value) * value;
	struct NAME(key) key;

	if (p->parsed != PARSED)
		return;
#ifdef FEATURE_tunnel
	if (p->inner)
		h = p->inner;
#endif
	NAME(fill_key)(&key, p, h);
	key.ip_version = h->ip_version;
	about.ports.source = h->sport;
	about.ports.dest = h->dport;
#ifdef FEATURE_defrag
	NAME(fill_ports)(&key, &about, h);
#endif
#ifdef FEATURE_biflow
	about.back = NAME(turn)(&key);
#endif
#ifdef FEATURE_once
	about.elsewhere = !NAME(is_here)(&key, p);
#endif
#if defined(FEATURE_server) || defined(FEATURE_end_reason)
	server__find(&about.server, &NAME(sessions), h, &about.ports, clock__wall(p), KNOB_idle);
#endif
	value = NAME(row)(&key, p, h);
	if (value) {
		NAME(count)(value, p, h, &about, true);
		return;
	}
	value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, h, &about, false);
}
