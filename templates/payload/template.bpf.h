/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * payload: packets that carry something behind their transport header: how much, the first bytes of it, and which patterns of the
 * policy stand in it. Each packet is looked at by itself: a pattern that begins in one and ends in the next is not found.
 * rows + other = the packets with a payload.
 */

#define PAYLOAD_TEXT 1024 /* a power of two: the most that a pattern can reach */

#if defined(FEATURE_match) || defined(KEY_pattern)
#define PAYLOAD_SEARCHED 1
#endif

struct NAME(key) {
#include <key_members.h>
#ifdef KEY_pattern
	__u8 pattern;
#endif
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 bytes;
#ifdef FEATURE_match
	__u64 matched;
	__u64 patterns[KNOB_patterns_count];
#ifndef KEY_pattern
	__u8 pattern;
#endif
#endif
#ifdef FEATURE_first
	__u8 first_bytes[KNOB_first];
	__u8 first_size;
#endif
#ifdef FEATURE_timing
	wall_ns first;
	wall_ns last;
#endif
};

/* The packet at hand. */
struct NAME(work) {
	__u64 high; /* the 16 bytes that were looked at last: the first eight of them, */
	__u64 low;  /* and the others */
	struct NAME(key) key;
	struct NAME(value) fresh;
	__u32 length; /* of text */
	__u32 found;  /* a bit for each pattern */
	__u32 number; /* the lowest of them, from 1; 0: none */
	__u8 text[PAYLOAD_TEXT];
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);
SCRATCH(NAME(work), struct NAME(work));

#if defined(PAYLOAD_SEARCHED) || defined(FEATURE_first)
/* Reads the payload's first bytes, at most `most`. */
static __always_inline void NAME(load)(struct NAME(work) * w, const struct packet *p,
				       const struct packet *h, const __u32 most)
{
	__u32 size = h->payload_len, here = packet__here(p) - h->payload;

	if (size > most)
		size = most;
	if (size > here)
		size = here; /* a capture may have cut the frame */
	size = ((size - 1) & (PAYLOAD_TEXT - 1)) + 1;
	w->length = packet__load(p, h->payload, w->text, size) ? 0 : size;
}
#endif

#ifdef PAYLOAD_SEARCHED
#ifndef PAYLOAD_ZERO
#define PAYLOAD_ZERO
/* 1 if x is 0, else 0: without a branch, of which the verifier would look at both ways. */
static __always_inline __u32 payload__is_zero(__u64 x)
{
	barrier_var(x);
	return ~(x | -x) >> 63;
}

/* 1 if x <= most, else 0; both below 2^32. */
static __always_inline __u32 payload__at_most(__u64 x, __u64 most)
{
	x -= most + 1;
	barrier_var(x);
	return x >> 63;
}
#endif

/* Which patterns end with byte `i`. */
static int NAME(search)(__u32 i, struct NAME(work) * *of)
{
	struct NAME(work) *w = *of;
	__u64 high = w->high << 8 | w->low >> 56;
	__u64 low = w->low << 8 | w->text[i & (PAYLOAD_TEXT - 1)];
	__u32 found = w->found;

	w->high = high;
	w->low = low;
#define PAYLOAD_PATTERN(N, HIGH, HIGH_MASK, LOW, LOW_MASK, FROM, SPAN)                             \
	found |= (payload__is_zero(((high & HIGH_MASK) ^ HIGH) | ((low & LOW_MASK) ^ LOW)) &       \
		  payload__at_most((__u32)(i - FROM), SPAN))                                       \
		 << N;
	KNOB_patterns(PAYLOAD_PATTERN)
#undef PAYLOAD_PATTERN
		w->found = found;
	return 0;
}

/* A function of its own, so that the verifier proves it once. */
__noinline int NAME(find)(struct NAME(work) * w)
{
	volatile struct NAME(work) *v = w;
	__u32 length;

	if (!w)
		return 0;
	w->high = 0;
	w->low = 0;
	w->found = 0;
	v->number = 0;
	length = w->length;
	if (length > KNOB_patterns_reach)
		length = KNOB_patterns_reach;
	bpf_loop(length, NAME(search), &w, 0);
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < KNOB_patterns_count; i++)
		if (!v->number && (v->found >> i & 1))
			v->number = i + 1;
	return 0;
}
#endif

#ifdef FEATURE_first
static __always_inline void NAME(keep_first)(struct NAME(work) * work, const struct packet *p,
					     const struct packet *h)
{
	volatile struct NAME(work) *w = work;

#ifndef PAYLOAD_SEARCHED
	NAME(load)(work, p, h, KNOB_first);
#endif
	(void)p, (void)h;
	w->fresh.first_size = w->length < KNOB_first ? w->length : KNOB_first;
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < KNOB_first; i++)
		w->fresh.first_bytes[i] = i < w->length ? w->text[i] : 0;
}
#endif

#include <key_fill.h>

static __always_inline void NAME(count)(struct NAME(value) * value, struct packet *p,
					const struct packet *h, struct NAME(work) * work,
					const bool shared)
{
	count__in(shared, value->packets, weighted(p, p->segments));
	count__in(shared, value->bytes, weighted(p, h->payload_len));
#ifdef FEATURE_match
	volatile struct NAME(work) *w = work;

	if (w->found)
		count__in(shared, value->matched, weighted(p, 1));
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < KNOB_patterns_count; i++)
		if (w->found >> i & 1)
			count__in(shared, value->patterns[i], weighted(p, 1));
#ifndef KEY_pattern
	if (w->number)
		value->pattern = w->number;
#endif
#endif
#ifdef FEATURE_timing
	clock__span(value, clock__wall(p));
#endif
	(void)p, (void)work;
}

static __always_inline struct NAME(value) *
	NAME(row)(struct NAME(work) * w, struct packet *p, const struct packet *h)
{
	struct NAME(value) *value = half__find(&NAME(rows), p->half, &w->key);

	if (value)
		return value;
#ifdef FEATURE_first
	NAME(keep_first)(w, p, h);
#endif
#ifdef FEATURE_timing
	w->fresh.first = clock__wall(p);
#endif
	(void)h;
	return half__row(&NAME(rows), p->half, &w->key, &w->fresh);
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	const struct packet *h = p;
	struct NAME(value) * value;
	struct NAME(work) * w;

	if (p->parsed != PARSED)
		return;
#ifdef FEATURE_tunnel
	if (p->inner)
		h = p->inner;
#endif
	if (!h->payload || !h->payload_len)
		return;
	w = scratch__value(&NAME(work));
	if (!w)
		return;
	NAME(fill_key)(&w->key, p, h);
	w->key.ip_version = h->ip_version;
#ifdef PAYLOAD_SEARCHED
#ifdef FEATURE_first
	NAME(load)(w, p, h, KNOB_first > KNOB_patterns_reach ? KNOB_first : KNOB_patterns_reach);
#else
	NAME(load)(w, p, h, KNOB_patterns_reach);
#endif
	NAME(find)(w);
#ifdef KEY_pattern
	w->key.pattern = w->number;
#endif
#endif
	value = NAME(row)(w, p, h);
	if (value) {
		NAME(count)(value, p, h, w, true);
		return;
	}
	value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, h, w, false);
}

#undef PAYLOAD_SEARCHED
