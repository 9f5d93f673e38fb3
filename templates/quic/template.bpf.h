/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * quic: what QUIC's long headers say (RFC 8999, RFC 9000 17.2, RFC 9369). rows + other = datagrams of UDP that begin with one: on
 * KNOB_port with any version, elsewhere with one that is known, as many other protocols may look alike.
 */

#define QUIC_ID 20 /* bytes of a connection id at most, in versions 1 and 2 */
#define QUIC_LONG 0x80
#define QUIC_DRAFTS 0xff000000 /* the lowest byte is the draft's number */

#ifndef QUIC_KINDS
#define QUIC_KINDS
enum quic_version {
	negotiation = 0,
	quic_v1 = 0x00000001,
	quic_v2 = 0x6b3343cf,
};

enum quic_kind {
	quic_initial,
	quic_zero_rtt,
	quic_handshake,
	quic_retry,
	quic_negotiation,
};
#endif

struct NAME(key) {
#include <key_members.h>
#ifdef KEY_version
	enum quic_version version;
#endif
#ifdef KEY_dcid
	__u8 dcid[QUIC_ID];
#endif
#ifdef KEY_scid
	__u8 scid[QUIC_ID];
#endif
#ifdef KEY_dcid_length
	__u8 dcid_length;
#endif
#ifdef KEY_scid_length
	__u8 scid_length;
#endif
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 initials;
	__u64 zero_rtts;
	__u64 handshakes;
	__u64 retries;
	__u64 negotiations;
	__u64 broken;
#ifdef FEATURE_timing
	wall_ns first;
	wall_ns last;
#endif
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);

#include <key_fill.h>

struct NAME(start) {
	__u8 first;
	__be32 version;
	__u8 dcid_length;
} __attribute__((packed));

/* A long header. */
struct NAME(header) {
	__u32 version;
	__u8 kind; /* enum quic_kind */
	bool broken;
	__u8 dcid_length;
	__u8 scid_length;
	__u8 dcid[QUIC_ID];
	__u8 scid[QUIC_ID];
};

SCRATCH(NAME(header), struct NAME(header));

/* Reads a connection id of `length` bytes at `at`; false when there is not so much. */
static __always_inline bool NAME(read_id)(__u8 *id, const struct packet *p, __u32 at, __u32 length)
{
	if (!length)
		return true;
	asm volatile(""
		     : "+r"(length)); /* what the compiler knows of it, the verifier has to see */
	return length <= QUIC_ID && at + length <= p->payload + p->payload_len &&
	       !packet__load(p, at, id, length);
}

/* Version 2 numbers its types anew (RFC 9369, 3.2). */
static __always_inline __u8 NAME(kind_of)(__u8 first, __u32 version)
{
	__u8 type = first >> 4 & 3;

	if (!version)
		return quic_negotiation;
	return version == quic_v2 ? (type + 3) & 3 : type;
}

static __always_inline bool NAME(is_known)(__u32 version)
{
	return version == quic_v1 || version == quic_v2 || (version & 0xffffff00) == QUIC_DRAFTS;
}

static __always_inline bool NAME(read)(struct NAME(header) * h, const struct packet *p)
{
	struct NAME(start) start;
	__u32 at = p->payload + sizeof(start);

	if (p->parsed != PARSED || p->proto != PROTO_UDP || p->fragment ||
	    p->payload_len < sizeof(start) + 1 ||
	    packet__load(p, p->payload, &start, sizeof(start)) || !(start.first & QUIC_LONG))
		return false;
	__builtin_memset(h, 0, sizeof(*h));
	h->version = bpf_ntohl(start.version);
	if (!NAME(is_known)(h->version) && p->sport != bpf_htons(KNOB_port) &&
	    p->dport != bpf_htons(KNOB_port))
		return false;
	h->kind = NAME(kind_of)(start.first, h->version);
	h->dcid_length = start.dcid_length;
	h->broken = true;
	if (!NAME(read_id)(h->dcid, p, at, start.dcid_length))
		return true;
	at += start.dcid_length;
	if (at >= p->payload + p->payload_len || packet__load(p, at, &h->scid_length, 1))
		return true;
	h->broken = !NAME(read_id)(h->scid, p, at + 1, h->scid_length);
	return true;
}

static __always_inline void NAME(make_key)(struct NAME(key) * key, const struct packet *p,
					   const struct NAME(header) * h)
{
	NAME(fill_key)(key, p, p);
	(void)h;
#ifdef KEY_version
	key->version = h->version;
#endif
#ifdef KEY_dcid
	__builtin_memcpy(key->dcid, h->dcid, QUIC_ID);
#endif
#ifdef KEY_scid
	__builtin_memcpy(key->scid, h->scid, QUIC_ID);
#endif
#ifdef KEY_dcid_length
	key->dcid_length = h->dcid_length;
#endif
#ifdef KEY_scid_length
	key->scid_length = h->scid_length;
#endif
	key->ip_version = p->ip_version;
}

static __always_inline void NAME(count)(struct NAME(value) * value, struct packet *p,
					const struct NAME(header) * h, const bool shared)
{
	count__in(shared, value->packets, weighted(p, p->segments));
	if (h->broken)
		count__in(shared, value->broken, weighted(p, p->segments));
	if (h->kind == quic_initial)
		count__in(shared, value->initials, weighted(p, p->segments));
	else if (h->kind == quic_zero_rtt)
		count__in(shared, value->zero_rtts, weighted(p, p->segments));
	else if (h->kind == quic_handshake)
		count__in(shared, value->handshakes, weighted(p, p->segments));
	else if (h->kind == quic_retry)
		count__in(shared, value->retries, weighted(p, p->segments));
	else
		count__in(shared, value->negotiations, weighted(p, p->segments));
#ifdef FEATURE_timing
	wall_ns now = clock__wall(p);

	clock__span(value, now);
#endif
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(header) *h = scratch__value(&NAME(header));
	struct NAME(value) fresh = {}, *value;
	struct NAME(key) key;

	if (!h || !NAME(read)(h, p))
		return;
	NAME(make_key)(&key, p, h);
#ifdef FEATURE_timing
	fresh.first = clock__wall(p);
#endif
	value = half__row(&NAME(rows), p->half, &key, &fresh);
	if (value) {
		NAME(count)(value, p, h, true);
		return;
	}
	value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, h, false);
}
