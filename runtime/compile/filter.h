/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pcap-filter(7) expressions as C.
 *
 * libpcap compiles an expression to classic BPF for Ethernet; each instruction becomes a line of C that bpf/filter.h completes and the
 * compiler turns into a program again. So a filter means what it means to tcpdump, whatever libpcap is installed.
 */
#ifndef PERILUNE_FILTER_H
#define PERILUNE_FILTER_H

#include "base/buf.h"
#include "base/error.h"

/*
 * Appends `static __always_inline bool NAME(const struct filter_frame *f)`, true when the frame matches. Names of hosts and networks
 * in the expression are resolved here and now, which may block. -EINVAL with libpcap's words when it is no expression, -EOPNOTSUPP when
 * it needs a loop (protochain). Not for several threads at once.
 */
int filter__source(const char *expression, const char *name, struct buf *out, struct error *error);

#endif
