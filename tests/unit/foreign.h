/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program as others write them: it knows nothing of windows, and counts each UDP packet of program__frame's in every kind of map.
 *
 * FOREIGN_DELAY, if defined, makes it take its time between finding a row and counting in it.
 */
#ifndef PERILUNE_TESTS_FOREIGN_H
#define PERILUNE_TESTS_FOREIGN_H

#include <stdint.h>

#define FOREIGN_KEYS 200 /* sources that the tests send from: more than `recent` has room for */
#define FOREIGN_ROWS 1024
#define FOREIGN_RECENT 64
#define FOREIGN_EVENTS 16384

/* In stats: every packet, and those that found no room in the queue. */
enum { FOREIGN_TOTAL, FOREIGN_FULL, FOREIGN_STATS };

#define FOREIGN_HEAD                                                                               \
	"#include \"kernel_types.h\"\n"                                                            \
	"#include <bpf/bpf_helpers.h>\n"                                                           \
	"#include <bpf/bpf_endian.h>\n"                                                            \
	"struct row { __u64 packets; __u64 bytes; };\n"                                            \
	"struct event { __u32 source; __u32 packets; };\n"                                         \
	"#define MAP(NAME, TYPE, KEY, VALUE, MAX) struct { __uint(type, TYPE); __type(key, KEY); " \
	"__type(value, VALUE); __uint(max_entries, MAX); } NAME SEC(\".maps\")\n"                  \
	"MAP(flows, BPF_MAP_TYPE_HASH, __u32, struct row, 1024);\n"                                \
	"MAP(own, BPF_MAP_TYPE_PERCPU_HASH, __u32, struct row, 1024);\n"                           \
	"MAP(recent, BPF_MAP_TYPE_LRU_HASH, __u32, struct row, 64);\n"                             \
	"MAP(stats, BPF_MAP_TYPE_ARRAY, __u32, struct row, 2);\n"                                  \
	"MAP(cpu_stats, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct row, 2);\n"                       \
	"MAP(config, BPF_MAP_TYPE_HASH, __u32, __u32, 8);\n"                                       \
	"struct { __uint(type, BPF_MAP_TYPE_QUEUE); __type(value, struct event); "                 \
	"__uint(max_entries, 16384); } events SEC(\".maps\");\n"                                   \
	"const volatile __u32 weight = 1;\n"                                                       \
	"__u64 started_at = 1000;\n"                                                               \
	"__u64 seen;\n"

#define FOREIGN_COUNT                                                                              \
	"#ifdef FOREIGN_DELAY\n"                                                                   \
	"static int nothing(__u32 i, void *arg) { return 0; }\n"                                   \
	"#define DELAY() bpf_loop(FOREIGN_DELAY, nothing, NULL, 0)\n"                              \
	"#else\n"                                                                                  \
	"#define DELAY() 0\n"                                                                      \
	"#endif\n"                                                                                 \
	"static __always_inline struct row *row_of(void *map, __u32 key)\n"                        \
	"{\n"                                                                                      \
	"	struct row *row = bpf_map_lookup_elem(map, &key), fresh = {};\n"                         \
	"	if (row)\n"                                                                              \
	"		return row;\n"                                                                          \
	"	bpf_map_update_elem(map, &key, &fresh, BPF_NOEXIST);\n"                                  \
	"	return bpf_map_lookup_elem(map, &key);\n"                                                \
	"}\n"                                                                                      \
	"#define ADD(at) do { struct row *r_ = at; DELAY(); if (r_) { "                            \
	"__sync_fetch_and_add(&r_->packets, weight); "                                             \
	"__sync_fetch_and_add(&r_->bytes, 46); } } while (0)\n"                                    \
	"static __always_inline void count(void *data, void *end)\n"                               \
	"{\n"                                                                                      \
	"	struct event event = {.packets = 1};\n"                                                  \
	"	struct ethhdr *eth = data;\n"                                                            \
	"	struct iphdr *ip = data + sizeof(*eth);\n"                                               \
	"	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(0x0800) || ip->protocol "        \
	"!= 17)\n"                                                                                 \
	"		return;\n"                                                                              \
	"	event.source = bpf_ntohl(ip->saddr) & 0xffff;\n"                                         \
	"	__sync_fetch_and_add(&seen, 1);\n"                                                       \
	"	ADD(row_of(&stats, 0));\n"                                                               \
	"	ADD(row_of(&cpu_stats, 0));\n"                                                           \
	"	ADD(row_of(&flows, event.source));\n"                                                    \
	"	ADD(row_of(&own, event.source));\n"                                                      \
	"	ADD(row_of(&recent, event.source));\n"                                                   \
	"	if (bpf_map_push_elem(&events, &event, 0))\n"                                            \
	"		ADD(row_of(&stats, 1));\n"                                                              \
	"}\n"

#define FOREIGN_PROGRAMS                                                                           \
	"SEC(\"tc\") int watch(struct __sk_buff *skb)\n"                                           \
	"{\n"                                                                                      \
	"	count((void *)(long)skb->data, (void *)(long)skb->data_end);\n"                          \
	"	return -1;\n"                                                                            \
	"}\n"                                                                                      \
	"SEC(\"xdp\") int watch_xdp(struct xdp_md *xdp)\n"                                         \
	"{\n"                                                                                      \
	"	count((void *)(long)xdp->data, (void *)(long)xdp->data_end);\n"                          \
	"	return 2;\n"                                                                             \
	"}\n"                                                                                      \
	"char LICENSE[] SEC(\"license\") = \"GPL\";\n"

static const char foreign_source[] = FOREIGN_HEAD FOREIGN_COUNT FOREIGN_PROGRAMS;

#endif
