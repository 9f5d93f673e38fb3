/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every kind of windowed map in one program: level 1 counts each packet in all of them, level 0 in the hook's totals only.
 * What does not fit into the queue, the stack or the rows is counted in `full`, in this order.
 */
#ifndef PERILUNE_TESTS_KINDS_H
#define PERILUNE_TESTS_KINDS_H

#define KINDS_SLOTS                                                                                \
	4 /* entries of `own` and `shared`; a packet counts in the one its source falls to */
#define KINDS_PUSHED 8192 /* room in the queue and in the stack */

static const char kinds_source[] =
	"#include <perilune.h>\n"
	"struct counts { __u64 packets; __u64 last; };\n"
	"struct event { __u32 source; __u32 packets; };\n"
	"enum slot { slot_zero, slot_one, slot_two, slot_three };\n"
	"WINDOWED_HASH(rows, __u32, struct counts);\n"
	"WINDOWED_PERCPU_HASH(cpu_rows, __u32, struct counts);\n"
	"WINDOWED_ARRAY(own, struct counts, 4);\n"
	"WINDOWED_SHARED_ARRAY(shared, struct counts, 4);\n"
	"WINDOWED_QUEUE(events, struct event);\n"
	"WINDOWED_STACK(latest, struct event);\n"
	"WINDOWED_SHARED_ARRAY(full, __u64, 3);\n"
	"static __always_inline void nothing(struct packet *p, void *ctx) {}\n"
	"static __always_inline void refused(struct packet *p, __u32 which)\n"
	"{\n"
	"	__u64 *count = half__value(&full, p->half, 3, which);\n"
	"	if (count)\n"
	"		count__shared(*count, 1);\n"
	"}\n"
	"static __always_inline void deep(struct packet *p, void *ctx)\n"
	"{\n"
	"	struct counts fresh = {}, *value;\n"
	"	__u32 source, slot;\n"
	"	struct event event = {.packets = 1};\n"
	"	if (p->parsed != PARSED)\n"
	"		return;\n"
	"	source = p->src.octets[14] << 8 | p->src.octets[15];\n"
	"	slot = source & 3;\n"
	"	event.source = source;\n"
	"	value = half__row(&rows, p->half, &source, &fresh);\n"
	"	if (value)\n"
	"		count__shared(value->packets, 1);\n"
	"	else\n"
	"		refused(p, 2);\n"
	"	value = half__row(&cpu_rows, p->half, &source, &fresh);\n"
	"	if (value) {\n"
	"		count__own(value->packets, 1);\n"
	"		value->last = source;\n"
	"	}\n"
	"	value = half__value(&own, p->half, 4, slot);\n"
	"	if (value) {\n"
	"		count__own(value->packets, 1);\n"
	"		value->last = source;\n"
	"	}\n"
	"	value = half__value(&shared, p->half, 4, slot);\n"
	"	if (value)\n"
	"		count__shared(value->packets, 1);\n"
	"	if (half__push(&events, p->half, &event))\n"
	"		refused(p, 0);\n"
	"	if (half__push(&latest, p->half, &event))\n"
	"		refused(p, 1);\n"
	"}\n"
	"LEVEL_XDP(xdp_level_base, NEED_BASE, nothing)\n"
	"LEVEL_XDP(xdp_level_deep, NEED_BASE, deep)\n"
	"SEC(\"xdp.frags\") int xdp_root(struct xdp_md *ctx)\n"
	"{\n"
	"	union ctl_state state = hook__state();\n"
	"	if (state.level == 1)\n"
	"		LEVEL(xdp_level_deep, ctx, state.epoch, ingress);\n"
	"	else\n"
	"		LEVEL(xdp_level_base, ctx, state.epoch, ingress);\n"
	"	return XDP_PASS;\n"
	"}\n"
	"char LICENSE[] SEC(\"license\") = \"Dual BSD/GPL\";\n";

#endif
