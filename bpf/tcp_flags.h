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

/* `shared`: see count__in. */
#define tcp_flags__count(VALUE, P, SHARED)                                                         \
	do {                                                                                       \
		__u8 flags_ = (P)->tcp_flags;                                                      \
		if (flags_ & TCP_SYN)                                                              \
			count__in(SHARED, (VALUE)->syn, 1);                                        \
		if ((flags_ & (TCP_SYN | TCP_ACK)) == (TCP_SYN | TCP_ACK))                         \
			count__in(SHARED, (VALUE)->syn_ack, 1);                                    \
		if (flags_ & TCP_FIN)                                                              \
			count__in(SHARED, (VALUE)->fin, 1);                                        \
		if (flags_ & TCP_RST)                                                              \
			count__in(SHARED, (VALUE)->rst, 1);                                        \
		if (flags_ & TCP_PSH)                                                              \
			count__in(SHARED, (VALUE)->psh, 1);                                        \
		if (flags_ & TCP_ACK)                                                              \
			count__in(SHARED, (VALUE)->ack, (P)->segments);                            \
		if (flags_ & TCP_URG)                                                              \
			count__in(SHARED, (VALUE)->urg, 1);                                        \
		if (flags_ & TCP_ECE)                                                              \
			count__in(SHARED, (VALUE)->ece, (P)->segments);                            \
		if (flags_ & TCP_CWR)                                                              \
			count__in(SHARED, (VALUE)->cwr, 1);                                        \
	} while (0)

#endif
