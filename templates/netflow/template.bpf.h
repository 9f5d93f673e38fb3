/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * netflow: flow records with the fields of NetFlow v5 and v9 (RFC 3954, 8). rows + other = every IP packet the probe saw; a record ends
 * with its window.
 */

struct NAME(key) {
#include <key_members.h>
	__u8 ip_version;
} __attribute__((packed, aligned(4)));

struct NAME(value) {
	__u64 packets;
	__u64 bytes;
	__u64 flows;
	wall_ns first;
	wall_ns last;
	__u64 duration;
	flags32 tcp_flags; /* as small as an atomic operation can be */
};

WINDOWED_HASH(NAME(rows), struct NAME(key), struct NAME(value));
WINDOWED_ARRAY(NAME(other), struct NAME(value), 1);

#include <key_fill.h>

static __always_inline void NAME(count)(struct NAME(value) * value, struct packet *p,
					const bool shared)
{
	__u32 flags = p->tcp_flags;

	count__in(shared, value->packets, weighted(p, p->segments));
	count__in(shared, value->bytes, weighted(p, packet__bytes(p)));
	if ((value->tcp_flags & flags) != flags) /* hardly ever */
		__sync_fetch_and_or(&value->tcp_flags, flags);
	clock__span(value, clock__wall(p));
	value->duration = value->last - value->first;
}

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(value) fresh = {.flows = 1}, *value;
	struct NAME(key) key;

	if (p->parsed != PARSED)
		return;
	NAME(fill_key)(&key, p, p);
	key.ip_version = p->ip_version;
	fresh.first = clock__wall(p);
	value = half__row(&NAME(rows), p->half, &key, &fresh);
	if (value) {
		NAME(count)(value, p, true);
		return;
	}
	value = half__value(&NAME(other), p->half, 1, 0);
	if (value)
		NAME(count)(value, p, false);
}
