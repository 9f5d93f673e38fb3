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
#ifdef FEATURE_size_hist
	__u64 sizes[SIZE_CLASSES];
#endif
#ifdef FEATURE_by_proto
	__u64 tcp_packets;
	__u64 tcp_bytes;
	__u64 udp_packets;
	__u64 udp_bytes;
	__u64 icmp_packets;
	__u64 icmp_bytes;
	__u64 rest_packets;
	__u64 rest_bytes;
#endif
#ifdef FEATURE_by_dscp
	__u64 dscp[64];
#endif
#ifdef FEATURE_by_vlan
	__u64 untagged;
	__u64 tagged;
	__u64 double_tagged;
#endif
};

WINDOWED_ARRAY(NAME(rows), struct NAME(value), 2);

#ifdef FEATURE_by_proto
static __always_inline void NAME(count_proto)(struct NAME(value) * value, const struct packet *p)
{
	switch (p->proto) {
	case PROTO_TCP:
		count__own(value->tcp_packets, weighted(p, p->segments));
		count__own(value->tcp_bytes, weighted(p, packet__bytes(p)));
		break;
	case PROTO_UDP:
		count__own(value->udp_packets, weighted(p, p->segments));
		count__own(value->udp_bytes, weighted(p, packet__bytes(p)));
		break;
	case PROTO_ICMP:
	case PROTO_ICMPV6:
		count__own(value->icmp_packets, weighted(p, p->segments));
		count__own(value->icmp_bytes, weighted(p, packet__bytes(p)));
		break;
	default:
		count__own(value->rest_packets, weighted(p, p->segments));
		count__own(value->rest_bytes, weighted(p, packet__bytes(p)));
	}
}
#endif

static __always_inline void NAME(on_packet)(struct packet *p)
{
	struct NAME(value) *value = half__value(&NAME(rows), p->half, 2, p->direction);

	if (!value)
		return;
	count__own(value->packets, weighted(p, p->segments));
	count__own(value->skbs, weighted(p, 1));
	count__own(value->bytes, weighted(p, packet__bytes(p)));
	count__own(value->frame_bytes, weighted(p, packet__frame_bytes(p)));
#ifdef FEATURE_tcp_flags
	tcp_flags__count(value, p, p, false);
#endif
#ifdef FEATURE_by_vlan
	if (!p->tags)
		count__own(value->untagged, weighted(p, p->segments));
	else if (p->tags == 1)
		count__own(value->tagged, weighted(p, p->segments));
	else
		count__own(value->double_tagged, weighted(p, p->segments));
#endif
	if (p->parsed != PARSED)
		return;
#ifdef FEATURE_size_hist
	count__own(value->sizes[size__class(p, p)], weighted(p, p->segments));
#endif
#ifdef FEATURE_by_proto
	NAME(count_proto)(value, p);
#endif
#ifdef FEATURE_by_dscp
	count__own(value->dscp[p->tos >> 2], weighted(p, p->segments));
#endif
}
