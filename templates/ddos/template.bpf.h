/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * ddos: a record for each of the first KNOB_packets packets of every session in a window, in the order they came. records + other =
 * every IP packet the probe saw: `limited` are those behind the first, `packets` those that found no room in a map, and with the feature
 * `ring`, records_lost those whose records found none in the ring.
 */

struct NAME(session) {
	struct ip_addr src;
	struct ip_addr dst;
	__be16 sport;
	__be16 dport;
	ip_proto proto;
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(record) {
	struct ip_addr src;
	struct ip_addr dst;
	__be16 sport;
	__be16 dport;
	ip_proto proto;
	__u8 ip_version;
	flags8 ip_flags;
	__u8 icmp_type;
	wall_ns time;
	__u64 packets;
	__u64 bytes;
	__u32 fragment;
	__u32 ack;
	__u32 window;
	__u32 payload;
	__u32 udp_length;
	flags16 tcp_flags;
};

struct NAME(other) {
	__u64 packets;
	__u64 limited;
};

#ifdef FEATURE_ring
WINDOWED_RING(NAME(records), struct NAME(record));
WINDOWED_ARRAY(NAME(records_lost), struct ring_lost, 1);
#else
WINDOWED_QUEUE(NAME(records), struct NAME(record));
SCRATCH(NAME(fresh), struct NAME(record));
#endif
WINDOWED_HASH(NAME(sessions), struct NAME(session), __u64);
WINDOWED_ARRAY(NAME(other), struct NAME(other), 1);

/* The number of this packet in its session, from 0; below 0: there is no room for the session. */
static __always_inline __s64 NAME(number)(const struct packet *p)
{
	__u64 none = 0, *packets;
	struct NAME(session) session;

	__builtin_memset(&session, 0, sizeof(session));
	session.src = p->src;
	session.dst = p->dst;
	session.sport = p->sport;
	session.dport = p->dport;
	session.proto = p->proto;
	session.ip_version = p->ip_version;
	packets = half__row(&NAME(sessions), p->half, &session, &none);
	return packets ? (__s64)__sync_fetch_and_add(packets, 1) : -1;
}

static __always_inline void NAME(describe)(struct NAME(record) * r, struct packet *p)
{
	bool tcp = p->proto == PROTO_TCP;

	r->src = p->src;
	r->dst = p->dst;
	r->sport = p->sport;
	r->dport = p->dport;
	r->proto = p->proto;
	r->ip_version = p->ip_version;
	r->ip_flags = p->ip_flags;
	r->tcp_flags = p->tcp_flags;
	r->icmp_type = proto__is_icmp(p->proto) ? p->icmp_type : 0;
	r->time = clock__wall(p);
	r->packets = weighted(p, p->segments);
	r->bytes = weighted(p, packet__bytes(p));
	r->fragment = p->fragment_at;
	r->ack = tcp ? p->ack : 0;
	r->window = tcp ? p->window : 0;
	r->payload = tcp ? p->payload_len : 0;
	r->udp_length = p->proto == PROTO_UDP ? p->udp_length : 0;
}

/* Whether the packet is counted, as a record or as one that is lost. */
static __always_inline bool NAME(keep)(struct packet *p)
{
#ifdef FEATURE_ring
	struct NAME(record) *record = half__room(&NAME(records), p->half, sizeof(*record));
	struct ring_lost *lost;

	if (record) {
		NAME(describe)(record, p);
		half__keep(record);
		return true;
	}
	lost = half__value(&NAME(records_lost), p->half, 1, 0);
	if (lost)
		count__own(lost->events, p->segments);
	return true;
#else
	struct NAME(record) *record = scratch__value(&NAME(fresh));

	if (!record)
		return false;
	NAME(describe)(record, p);
	return !half__push(&NAME(records), p->half, record);
#endif
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(other) * other;
	__s64 number;

	if (p->parsed != PARSED)
		return;
	number = NAME(number)(p);
	if (number >= 0 && number < KNOB_packets && NAME(keep)(p))
		return;
	other = half__value(&NAME(other), p->half, 1, 0);
	if (!other)
		return;
	if (number >= KNOB_packets)
		count__own(other->limited, weighted(p, p->segments));
	else
		count__own(other->packets, weighted(p, p->segments));
}
