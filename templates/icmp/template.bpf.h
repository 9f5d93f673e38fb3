/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * icmp: messages of ICMP (RFC 792) and ICMPv6 (RFC 4443) by address, type, or the flow that an error is about. rows + other = the
 * messages the probe saw, but for later fragments.
 */

struct NAME(key) {
#include <key_members.h>
#ifdef KEY_about_src
	struct ip_addr about_src;
#endif
#ifdef KEY_about_dst
	struct ip_addr about_dst;
#endif
#ifdef KEY_about_sport
	__be16 about_sport;
#endif
#ifdef KEY_about_dport
	__be16 about_dport;
#endif
#ifdef KEY_about_proto
	ip_proto about_proto;
#endif
#ifdef KEY_icmp_type
	__u8 icmp_type;
#endif
#ifdef KEY_code
	__u8 code;
#endif
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 bytes;
	__u64 requests;
	__u64 replies;
	__u64 unreachable;
	__u64 too_big;
	__u64 time_exceeded;
	__u64 redirects;
	__u64 broken;
#ifdef FEATURE_latency
	__u64 latencies[TIME_CLASSES];
	__u64 latency_max;
#endif
#ifdef FEATURE_mtu
	__u32 mtu;
#endif
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
SCRATCH(NAME(fresh), struct NAME(value));

#include <key_fill.h>

/* Types of ICMP, and of ICMPv6; errors of the latter are those below 128. */
#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER 12
#define ICMP_CODE_TOO_BIG 4 /* of "unreachable" */
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_TOO_BIG 2
#define ICMPV6_TIME_EXCEEDED 3
#define ICMPV6_ECHO 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_REDIRECT 137

/* What a message is. */
struct NAME(message) {
	bool broken, request, reply, unreachable, too_big, time_exceeded, redirect, error;
	__u32 mtu;
	__u64 latency; /* ns; 0: unknown */
};

static __always_inline void NAME(classify)(struct NAME(message) * m, const struct packet *p)
{
	__u8 type = p->icmp_type;

	m->broken = !p->payload;
	if (m->broken)
		return;
	if (p->ip_version == 4) {
		m->request = type == ICMP_ECHO;
		m->reply = type == ICMP_ECHO_REPLY;
		m->too_big = type == ICMP_UNREACHABLE && p->icmp_code == ICMP_CODE_TOO_BIG;
		m->unreachable = type == ICMP_UNREACHABLE && !m->too_big;
		m->time_exceeded = type == ICMP_TIME_EXCEEDED;
		m->redirect = type == ICMP_REDIRECT;
		m->error = type == ICMP_UNREACHABLE || type == ICMP_QUENCH ||
			   type == ICMP_REDIRECT || type == ICMP_TIME_EXCEEDED ||
			   type == ICMP_PARAMETER;
		m->mtu = m->too_big ? bpf_ntohs(p->icmp_seq) : 0;
	} else {
		m->request = type == ICMPV6_ECHO;
		m->reply = type == ICMPV6_ECHO_REPLY;
		m->too_big = type == ICMPV6_TOO_BIG;
		m->unreachable = type == ICMPV6_UNREACHABLE;
		m->time_exceeded = type == ICMPV6_TIME_EXCEEDED;
		m->redirect = type == ICMPV6_REDIRECT;
		m->error = type < ICMPV6_ECHO;
		m->mtu = m->too_big ? bpf_ntohs(p->icmp_id) << 16 | bpf_ntohs(p->icmp_seq) : 0;
	}
}

#ifdef FEATURE_latency
struct NAME(echo) {
	struct ip_addr from;
	struct ip_addr to;
	__be16 id;
	__be16 seq;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct NAME(echo));
	__type(value, wall_ns);
	__uint(max_entries, KNOB_echoes);
} NAME(echoes) SEC(".maps");

static __always_inline void NAME(measure)(struct NAME(message) * m, struct packet *p)
{
	struct NAME(echo) echo = {.from = m->reply ? p->dst : p->src,
				  .to = m->reply ? p->src : p->dst,
				  .id = p->icmp_id,
				  .seq = p->icmp_seq};
	wall_ns now = clock__wall(p), *sent;

	if (m->request) {
		bpf_map_update_elem(&NAME(echoes), &echo, &now, BPF_ANY);
	} else if (m->reply) {
		sent = bpf_map_lookup_elem(&NAME(echoes), &echo);
		if (!sent)
			return;
		m->latency = now > *sent ? now - *sent : 1;
		bpf_map_delete_elem(&NAME(echoes), &echo); /* a second reply is no measurement */
	}
}
#endif

#if defined(KEY_about_src) || defined(KEY_about_dst) || defined(KEY_about_sport) ||                \
	defined(KEY_about_dport) || defined(KEY_about_proto)
static __always_inline void NAME(fill_about)(struct NAME(key) * key, const struct packet *p)
{
	struct ports ports = {};
	struct ip_addr src, dst;
	ip_proto proto;
	__u32 header;
	bool first = true;

	if (p->ip_version == 4) {
		struct iphdr ip;

		if (packet__load(p, p->payload, &ip, sizeof(ip)) || ip.version != 4)
			return;
		ip_addr__from_v4(&src, ip.saddr);
		ip_addr__from_v4(&dst, ip.daddr);
		proto = ip.protocol;
		header = ip.ihl * 4;
		first = !(ip.frag_off & bpf_htons(0x1fff));
	} else {
		struct ipv6hdr ip;

		if (packet__load(p, p->payload, &ip, sizeof(ip)) || ip.version != 6)
			return;
		ip_addr__from_v6(&src, &ip.saddr);
		ip_addr__from_v6(&dst, &ip.daddr);
		proto = ip.nexthdr;
		header = sizeof(ip);
	}
	if (first && proto__has_ports(proto))
		packet__load(p, p->payload + header, &ports, sizeof(ports));
#ifdef KEY_about_src
	key->about_src = src;
#endif
#ifdef KEY_about_dst
	key->about_dst = dst;
#endif
#ifdef KEY_about_sport
	key->about_sport = ports.source;
#endif
#ifdef KEY_about_dport
	key->about_dport = ports.dest;
#endif
#ifdef KEY_about_proto
	key->about_proto = proto;
#endif
}
#else
static __always_inline void NAME(fill_about)(struct NAME(key) * key, const struct packet *p)
{
	(void)key, (void)p;
}
#endif

static __always_inline void NAME(make_key)(struct NAME(key) * key, const struct packet *p,
					   const struct NAME(message) * m)
{
	NAME(fill_key)(key, p, p);
#ifdef KEY_icmp_type
	key->icmp_type = m->broken ? 0 : p->icmp_type;
#endif
#ifdef KEY_code
	key->code = m->broken ? 0 : p->icmp_code;
#endif
	key->ip_version = p->ip_version;
	if (m->error)
		NAME(fill_about)(key, p);
}

static __always_inline void NAME(count)(struct NAME(value) * value, const struct packet *p,
					const struct NAME(message) * m, const bool shared)
{
	count__in(shared, value->packets, weighted(p, p->segments));
	count__in(shared, value->bytes, weighted(p, packet__bytes(p)));
	if (m->broken)
		count__in(shared, value->broken, weighted(p, p->segments));
	if (m->request)
		count__in(shared, value->requests, weighted(p, p->segments));
	if (m->reply)
		count__in(shared, value->replies, weighted(p, p->segments));
	if (m->unreachable)
		count__in(shared, value->unreachable, weighted(p, p->segments));
	if (m->too_big)
		count__in(shared, value->too_big, weighted(p, p->segments));
	if (m->time_exceeded)
		count__in(shared, value->time_exceeded, weighted(p, p->segments));
	if (m->redirect)
		count__in(shared, value->redirects, weighted(p, p->segments));
#ifdef FEATURE_latency
	if (m->latency) {
		count__in(shared, value->latencies[time__class(m->latency)], weighted(p, 1));
		if (m->latency > value->latency_max)
			value->latency_max = m->latency;
	}
#endif
#ifdef FEATURE_mtu
	if (m->mtu && (!value->mtu || m->mtu < value->mtu))
		value->mtu = m->mtu;
#endif
}

SCRATCH(NAME(message),
	struct NAME(message)); /* not on the stack: the verifier would follow each kind */

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(message) *m = scratch__value(&NAME(message));
	struct NAME(value) * value, *fresh;
	struct NAME(key) key;

	if (p->parsed != PARSED || p->fragment || !m ||
	    p->proto != (p->ip_version == 4 ? PROTO_ICMP : PROTO_ICMPV6))
		return;
	__builtin_memset(m, 0, sizeof(*m));
	NAME(classify)(m, p);
#ifdef FEATURE_latency
	NAME(measure)(m, p);
#endif
	NAME(make_key)(&key, p, m);
	fresh = scratch__value(&NAME(fresh)); /* stays 0 */
	value = fresh ? half__row(&NAME(rows), p->half, &key, fresh) : NULL;
	if (value) {
		NAME(count)(value, p, m, true);
		return;
	}
	value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, m, false);
}
