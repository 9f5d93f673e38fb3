/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * flows: a row for every key seen in a window. The key is made of the fields that KEY_… name; IPv4 and IPv6 share it.
 * A packet whose row does not fit counts in `other` instead, so rows + other = every IP packet the probe saw.
 */

struct NAME(key) {
#ifdef KEY_src
	struct ip_addr src;
#endif
#ifdef KEY_dst
	struct ip_addr dst;
#endif
#ifdef KEY_sport
	__be16 sport;
#endif
#ifdef KEY_dport
	__be16 dport;
#endif
#ifdef KEY_proto
	ip_proto proto;
#endif
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 skbs;
	__u64 bytes;
#ifdef FEATURE_tcp_flags
	TCP_FLAG_COUNTS;
#endif
#ifdef FEATURE_tunnel
	enum tunnel tunnel;
	__u32 tunnel_id;
#endif
#ifdef FEATURE_timing
	wall_ns first;
	wall_ns last;
#endif
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);

static __always_inline void NAME(make_key)(struct NAME(key) * key, const struct packet *p)
{
	__builtin_memset(key, 0, sizeof(*key));
#ifdef KEY_src
	key->src = p->src;
#endif
#ifdef KEY_dst
	key->dst = p->dst;
#endif
#ifdef KEY_sport
	key->sport = p->sport;
#endif
#ifdef KEY_dport
	key->dport = p->dport;
#endif
#ifdef KEY_proto
	key->proto = p->proto;
#endif
	key->ip_version = p->ip_version;
}

#ifdef FEATURE_timing
static __always_inline void NAME(note_time)(struct NAME(value) * value, wall_ns now)
{
	if (!value->first || now < value->first)
		value->first = now;
	if (now > value->last)
		value->last = now;
}
#endif

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(value) * value, fresh = {};
	const struct packet *h = p;
	struct NAME(key) key;

	if (p->parsed != PARSED)
		return;
#ifdef FEATURE_tunnel
	if (p->inner)
		h = p->inner;
	fresh.tunnel = p->tunnel;
	fresh.tunnel_id = p->tunnel_id;
#endif
	NAME(make_key)(&key, h);
#ifdef FEATURE_timing
	fresh.first = clock__wall(p); /* so that no other CPU sees a row without one */
#endif
	value = half__row(&NAME(rows), p->half, &key, &fresh);
	if (value) {
		count__shared(value->packets, p->segments);
		count__shared(value->skbs, 1);
		count__shared(value->bytes, packet__bytes(h));
#ifdef FEATURE_tcp_flags
		tcp_flags__count(value, h, count__shared);
#endif
	} else {
		value = half__value(&NAME(other), p->half, 1, 0);
		if (!value)
			return;
		count__own(value->packets, p->segments);
		count__own(value->skbs, 1);
		count__own(value->bytes, packet__bytes(h));
#ifdef FEATURE_tcp_flags
		tcp_flags__count(value, h, count__own);
#endif
	}
#ifdef FEATURE_timing
	NAME(note_time)(value, clock__wall(p));
#endif
}
