/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * dns: messages of DNS (RFC 1035) over UDP, multicast and TCP. rows + other = the messages the probe saw: whatever UDP carries from or
 * to its ports; what cannot be read as DNS is `broken`.
 *
 * A name is read from the first 512 octets of a message. Pointers go back only, each further than the one before, so that no name
 * goes round in circles.
 */

#define DNS_LOOK 512  /* octets of a message that are looked at; a power of two */
#define DNS_HEADER 12 /* octets */
#define DNS_NAME 256  /* a name's octets, dots and all; a power of two */
#define DNS_STEPS 320 /* octets and pointers of a name that are followed */
#define DNS_LABELS 4  /* starts of labels that are remembered: the most that zone_labels can be */

#define DNS_MULTICAST 5353

#define DNS_RESPONSE 0x8000
#define DNS_TRUNCATED 0x0200
#define DNS_RCODE 0x000f

struct NAME(key) {
#include <key_members.h>
#ifdef KEY_client
	struct ip_addr client;
#endif
#ifdef KEY_server
	struct ip_addr server;
#endif
#ifdef KEY_id
	__u16 id;
#endif
#ifdef KEY_flags
	flags16 flags;
#endif
#ifdef KEY_qtype
	__u16 qtype;
#endif
#ifdef KEY_response
	__u8 response;
#endif
#ifdef KEY_rcode
	__u8 rcode;
#endif
#ifdef KEY_zone
	char zone[KNOB_name_bytes];
#endif
#ifdef KEY_name
	char name[KNOB_name_bytes];
#endif
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 queries;
	__u64 responses;
	__u64 errors;
	__u64 truncated;
	__u64 answers;
	__u64 name_length;
	__u64 broken;
#ifdef FEATURE_latency
	__u64 latencies[TIME_CLASSES];
	__u64 latency_max;
	__u64 unasked;
#endif
#ifdef FEATURE_tcp
	__u64 over_tcp;
#endif
#ifdef FEATURE_name
	char first_name[KNOB_name_bytes];
#endif
};

struct NAME(header) {
	__be16 id;
	__be16 flags;
	__be16 questions;
	__be16 answers;
	__be16 authorities;
	__be16 additionals;
};

/*
 * The message at hand. It lies in a map, which the verifier does not follow: each step over a name is the same to it, and what comes
 * behind is proved once and not for every message there could be.
 */
struct NAME(message) {
	__u32 size;		  /* octets in `octets` */
	__u32 at;		  /* next octet of the name */
	__u32 left;		  /* octets of the label that are still to come */
	__u32 least;		  /* a pointer has to point in front of this */
	__u32 after;		  /* what stands behind the name; 0: its end was not met yet */
	__u32 length;		  /* of `name` */
	__u32 starts[DNS_LABELS]; /* of the last labels, the last one first */
	__u32 labels;
	__u16 flags;
	__u16 answers;
	__u16 qtype;
	__u8 broken;
	__u8 over_tcp;
	__u8 unasked;
	__u64 latency; /* ns; 0: unknown */
	__u8 octets[DNS_LOOK];
	char name[DNS_NAME];
	struct NAME(key) key;
	struct NAME(value) fresh;
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
SCRATCH(NAME(message), struct NAME(message));

#include <key_fill.h>

static __always_inline __u8 NAME(octet)(const struct NAME(message) * m, __u32 at)
{
	return *(volatile const __u8 *)&m->octets[at & (DNS_LOOK - 1)];
}

static __always_inline void NAME(put)(struct NAME(message) * m, __u8 c)
{
	__u32 length = *(volatile __u32 *)&m->length;

	if (c >= 'A' && c <= 'Z')
		c += 'a' - 'A';
	m->name[length & (DNS_NAME - 1)] = c ? c : '?'; /* a 0 would end the text */
	m->length = length + 1;
}

/* One octet or pointer of a name; not 0 when it is at its end, or cannot be read. */
static int NAME(step)(__u32 i, struct NAME(message) * *of)
{
	struct NAME(message) *m = *of;
	__u32 at = *(volatile __u32 *)&m->at, left = *(volatile __u32 *)&m->left, target;
	__u8 c = NAME(octet)(m, at);

	(void)i;
	if (at >= m->size || *(volatile __u32 *)&m->length >= DNS_NAME - 1) {
		m->broken = 1;
		return 1;
	}
	if (left) {
		NAME(put)(m, c);
		m->left = left - 1;
		m->at = at + 1;
		return 0;
	}
	if (!c || (c & 0xc0) == 0xc0) {
		if (!*(volatile __u32 *)&m->after)
			m->after = at + (c ? 2 : 1);
		if (!c)
			return 1;
		target = (c & 0x3f) << 8 | NAME(octet)(m, at + 1);
		if (at + 1 >= m->size || target >= *(volatile __u32 *)&m->least) {
			m->broken = 1;
			return 1;
		}
		m->least = target;
		m->at = target;
		return 0;
	}
	if (c & 0xc0) {
		m->broken = 1;
		return 1;
	}
	if (m->labels)
		NAME(put)(m, '.');
	for (__u32 i = DNS_LABELS - 1; i > 0; i--)
		m->starts[i] = m->starts[i - 1];
	m->starts[0] = *(volatile __u32 *)&m->length;
	m->labels++;
	m->left = c;
	m->at = at + 1;
	return 0;
}

/* The name that stands at m->at. */
static __always_inline void NAME(read_name)(struct NAME(message) * m)
{
	m->least = m->at;
	bpf_loop(DNS_STEPS, NAME(step), &m, 0);
	if (!*(volatile __u32 *)&m->after) /* too long */
		m->broken = 1;
	if (m->broken)
		m->length = 0;
	else if (!m->length)
		NAME(put)(m, '.');
}

/* Reads the message at `at` of the frame, of `size` octets. */
static __always_inline void NAME(read)(struct NAME(message) * m, const struct packet *p, __u32 at,
				       __u32 size)
{
	const struct NAME(header) *header = (const void *)m->octets;

	if (size > DNS_LOOK)
		size = DNS_LOOK;
	asm volatile("" : "+r"(size));
	if (size < DNS_HEADER || size > DNS_LOOK || packet__load(p, at, m->octets, size)) {
		m->broken = 1;
		return;
	}
	m->size = size;
	m->flags = bpf_ntohs(header->flags);
	m->answers = bpf_ntohs(header->answers);
	if (!header->questions && !header->answers && !header->authorities) /* no name */
		return;
	m->at = DNS_HEADER;
	NAME(read_name)(m);
	if (m->broken)
		return;
	at = *(volatile __u32 *)&m->after;
	if (at + 2 > *(volatile __u32 *)&m->size)
		m->broken = 1;
	else
		m->qtype = NAME(octet)(m, at) << 8 | NAME(octet)(m, at + 1);
}

#ifdef FEATURE_latency
struct NAME(query) {
	struct ip_addr client;
	struct ip_addr server;
	__be16 client_port;
	__be16 id;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__type(key, struct NAME(query));
	__type(value, wall_ns);
	__uint(max_entries, KNOB_queries);
} NAME(queries) SEC(".maps");

static __always_inline void NAME(measure)(struct NAME(message) * m, struct packet *p)
{
	const struct NAME(header) *header = (const void *)m->octets;
	bool response = m->flags & DNS_RESPONSE;
	struct NAME(query) query = {.id = header->id};
	wall_ns now = clock__wall(p), *asked;

	/* Multicast has no ids to tell questions apart, and everybody may answer (RFC 6762, 18.1). */
	if (p->sport == bpf_htons(DNS_MULTICAST) || p->dport == bpf_htons(DNS_MULTICAST))
		return;
	query.client = response ? p->dst : p->src;
	query.server = response ? p->src : p->dst;
	query.client_port = response ? p->dport : p->sport;
	if (!response) {
		bpf_map_update_elem(&NAME(queries), &query, &now, BPF_ANY);
		return;
	}
	asked = bpf_map_lookup_elem(&NAME(queries), &query);
	if (!asked) {
		m->unasked = 1;
		return;
	}
	m->latency = now > *asked ? now - *asked : 1;
	bpf_map_delete_elem(&NAME(queries), &query);
}
#endif

#if defined(KEY_name) || defined(KEY_zone) || defined(FEATURE_name)
struct NAME(copy) {
	char *to; /* KNOB_name_bytes */
	struct NAME(message) * m;
	__u32 from;
};

static int NAME(copy_octet)(__u32 i, struct NAME(copy) * copy)
{
	__u32 from = copy->from + i;

	if (i >= KNOB_name_bytes || from >= copy->m->length)
		return 1;
	copy->to[i] = copy->m->name[from & (DNS_NAME - 1)];
	return 0;
}

/* The name from `from` on, cut to what has room. */
static __always_inline void NAME(copy_name)(char *to, struct NAME(message) * m, __u32 from)
{
	struct NAME(copy) copy = {.to = to, .m = m, .from = from};

	bpf_loop(KNOB_name_bytes, NAME(copy_octet), &copy, 0);
}
#endif

static __always_inline void NAME(make_key)(struct NAME(message) * m, const struct packet *p)
{
	struct NAME(key) *key = &m->key;
	bool response = m->flags & DNS_RESPONSE;

	NAME(fill_key)(key, p, p);
	(void)response;
#ifdef KEY_client
	key->client = response ? p->dst : p->src;
#endif
#ifdef KEY_server
	key->server = response ? p->src : p->dst;
#endif
#ifdef KEY_id
	key->id = m->size ? m->octets[0] << 8 | m->octets[1] : 0;
#endif
#ifdef KEY_flags
	key->flags = m->flags;
#endif
#ifdef KEY_qtype
	key->qtype = m->qtype;
#endif
#ifdef KEY_response
	key->response = response;
#endif
#ifdef KEY_rcode
	key->rcode = response ? m->flags & DNS_RCODE : 0;
#endif
#ifdef KEY_name
	NAME(copy_name)(key->name, m, 0);
#endif
#ifdef KEY_zone
	NAME(copy_name)(key->zone, m,
			m->labels >= KNOB_zone_labels ? m->starts[KNOB_zone_labels - 1] : 0);
#endif
	key->ip_version = p->ip_version;
}

static __always_inline void NAME(count)(struct NAME(value) * value, const struct packet *p,
					const struct NAME(message) * m, const bool shared)
{
	bool readable = m->size;

	count__in(shared, value->packets, weighted(p, p->segments));
	if (m->broken)
		count__in(shared, value->broken, weighted(p, p->segments));
	if (readable && !(m->flags & DNS_RESPONSE))
		count__in(shared, value->queries, weighted(p, p->segments));
	if (m->flags & DNS_RESPONSE) {
		count__in(shared, value->responses, weighted(p, p->segments));
		count__in(shared, value->answers, weighted(p, m->answers));
		if (m->flags & DNS_RCODE)
			count__in(shared, value->errors, weighted(p, p->segments));
	}
	if (m->flags & DNS_TRUNCATED)
		count__in(shared, value->truncated, weighted(p, p->segments));
	if (m->length > value->name_length)
		value->name_length = m->length;
#ifdef FEATURE_latency
	if (m->latency) {
		count__in(shared, value->latencies[time__class(m->latency)], weighted(p, 1));
		if (m->latency > value->latency_max)
			value->latency_max = m->latency;
	}
	if (m->unasked)
		count__in(shared, value->unasked, weighted(p, 1));
#endif
#ifdef FEATURE_tcp
	if (m->over_tcp)
		count__in(shared, value->over_tcp, weighted(p, p->segments));
#endif
}

static __always_inline bool NAME(is_port)(__be16 port)
{
	return port == bpf_htons(KNOB_port) || port == bpf_htons(KNOB_port_2);
}

/* Where a message begins in the frame, and how long it is; false when the packet is none. */
static __always_inline bool NAME(find)(struct NAME(message) * m, const struct packet *p, __u32 *at,
				       __u32 *size)
{
	if (p->parsed != PARSED || p->fragment || !p->payload_len ||
	    !(NAME(is_port)(p->sport) || NAME(is_port)(p->dport)))
		return false;
	*at = p->payload;
	*size = p->payload_len;
	if (p->proto == PROTO_UDP)
		return true;
#ifdef FEATURE_tcp
	__be16 length;

	if (p->proto != PROTO_TCP || p->payload_len < 2 + DNS_HEADER ||
	    packet__load(p, p->payload, &length, sizeof(length)))
		return false;
	*at += sizeof(length);
	*size = bpf_ntohs(length);
	m->over_tcp = 1;
	return *size >= DNS_HEADER && *size + sizeof(length) <= p->payload_len;
#else
	(void)m;
	return false;
#endif
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(message) *m = scratch__value(&NAME(message));
	struct NAME(value) * value;
	__u32 at, size;

	if (!m)
		return;
	__builtin_memset(m, 0, __builtin_offsetof(struct NAME(message), octets));
	if (!NAME(find)(m, p, &at, &size))
		return;
	NAME(read)(m, p, at, size);
#ifdef FEATURE_latency
	if (*(volatile __u32 *)&m->size)
		NAME(measure)(m, p);
#endif
	NAME(make_key)(m, p);
#ifdef FEATURE_name
	__builtin_memset(m->fresh.first_name, 0, sizeof(m->fresh.first_name));
	NAME(copy_name)(m->fresh.first_name, m, 0);
#endif
	value = half__row(&NAME(rows), p->half, &m->key, &m->fresh);
	if (value) {
		NAME(count)(value, p, m, true);
		return;
	}
	value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, m, false);
}
