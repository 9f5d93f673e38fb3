/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * TCP flags, each counted: the members a value gets with the feature `tcp_flags`, and how a packet is added to them.
 *
 * In packets, and a packet counts for each flag it has: `syn` includes the SYN/ACKs, which `syn_ack` counts alone. Of a merged packet's
 * segments all have ACK and ECE, and one has any other flag.
 */
#ifndef PERILUNE_TCP_FLAGS_H
#define PERILUNE_TCP_FLAGS_H

#define TCP_FLAG_COUNTS                                                                            \
	__u64 syn;                                                                                 \
	__u64 syn_ack;                                                                             \
	__u64 fin;                                                                                 \
	__u64 rst;                                                                                 \
	__u64 psh;                                                                                 \
	__u64 ack;                                                                                 \
	__u64 urg;                                                                                 \
	__u64 ece;                                                                                 \
	__u64 cwr

/* `H`: the headers that have the flags, those of `P` or of the packet inside its tunnel; `SHARED`: see count__in. */
#define tcp_flags__count(VALUE, P, H, SHARED)                                                      \
	do {                                                                                       \
		__u8 flags_ = (H)->tcp_flags;                                                      \
		if (flags_ & TCP_SYN)                                                              \
			count__in(SHARED, (VALUE)->syn, weighted(P, 1));                           \
		if ((flags_ & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))                         \
			count__in(SHARED, (VALUE)->syn_ack, weighted(P, 1));                       \
		if (flags_ & TCP_FIN)                                                              \
			count__in(SHARED, (VALUE)->fin, weighted(P, 1));                           \
		if (flags_ & TCP_RST)                                                              \
			count__in(SHARED, (VALUE)->rst, weighted(P, 1));                           \
		if (flags_ & TCP_PSH)                                                              \
			count__in(SHARED, (VALUE)->psh, weighted(P, 1));                           \
		if (flags_ & TCP_ACK)                                                              \
			count__in(SHARED, (VALUE)->ack, weighted(P, (P)->segments));               \
		if (flags_ & TCP_URG)                                                              \
			count__in(SHARED, (VALUE)->urg, weighted(P, 1));                           \
		if (flags_ & TCP_ECE)                                                              \
			count__in(SHARED, (VALUE)->ece, weighted(P, (P)->segments));               \
		if (flags_ & TCP_CWR)                                                              \
			count__in(SHARED, (VALUE)->cwr, weighted(P, 1));                           \
	} while (0)

#endif
