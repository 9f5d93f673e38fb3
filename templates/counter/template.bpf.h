/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* counter: how much crosses the hook, each way. One addition per number and packet, no table of keys. */

struct NAME(value) {
	__u64 packets;
	__u64 skbs;
	__u64 bytes;
	__u64 frame_bytes;
#ifdef FEATURE_tcp_flags
	TCP_FLAG_COUNTS;
#endif
};

WINDOWED_ARRAY(NAME(rows), struct NAME(value), 2);

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(value) *value = half__value(&NAME(rows), p->half, 2, p->direction);

	if (!value)
		return;
	count__own(value->packets, p->segments);
	count__own(value->skbs, 1);
	count__own(value->bytes, packet__bytes(p));
	count__own(value->frame_bytes, packet__frame_bytes(p));
#ifdef FEATURE_tcp_flags
	tcp_flags__count(value, p, false);
#endif
}
