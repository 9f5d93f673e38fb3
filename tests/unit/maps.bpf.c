/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object as others write them, with a map of many kinds: `fill` (tc) puts the same in them at each run, `sample` (raw_tp) a stack.
 */
#include "kernel_types.h"
#include <bpf/bpf_helpers.h>

typedef __u32 ipv4_addr;
enum color { RED = 1, GREEN = 2, BLUE = 4 };

struct flow {
	ipv4_addr src;
	__be16 port;
	__u8 mac[6];
	enum color color;
};

struct counts {
	__u64 packets;
	__s64 balance;
	__u32 low : 4, high : 12;
	char label[8];
	struct {
		__u16 x, y;
	} at[2];
};

#define MAP(NAME, TYPE, KEY, VALUE, MAX)                                                           \
	struct {                                                                                   \
		__uint(type, TYPE);                                                                \
		__type(key, KEY);                                                                  \
		__type(value, VALUE);                                                              \
		__uint(max_entries, MAX);                                                          \
	} NAME SEC(".maps")
#define POP(NAME, TYPE)                                                                            \
	struct {                                                                                   \
		__uint(type, TYPE);                                                                \
		__type(value, struct counts);                                                      \
		__uint(max_entries, 8);                                                            \
	} NAME SEC(".maps")

MAP(pm_hash, BPF_MAP_TYPE_HASH, struct flow, struct counts, 64);
MAP(pm_lru, BPF_MAP_TYPE_LRU_HASH, struct flow, struct counts, 64);
MAP(pm_array, BPF_MAP_TYPE_ARRAY, __u32, struct counts, 3);
MAP(pm_cpu_hash, BPF_MAP_TYPE_PERCPU_HASH, __u32, struct counts, 64);
MAP(pm_cpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct counts, 2);
POP(pm_queue, BPF_MAP_TYPE_QUEUE);
POP(pm_stack, BPF_MAP_TYPE_STACK);

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(key_size, 8);
	__uint(value_size, 4);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
} pm_trie SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, __u32);
	__type(value, struct counts);
	__uint(max_entries, 4);
} pm_inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, 4);
	__array(values, struct inner);
} pm_outer SEC(".maps") = {.values = {0}};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__type(key, __u32);
	__uint(max_entries, 4);
	__array(values, struct inner);
} pm_outers SEC(".maps") = {.values = {[1] = &pm_inner}};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} pm_ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} pm_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(key_size, 4);
	__uint(value_size, 8 * 16);
	__uint(max_entries, 16);
} pm_stacks SEC(".maps");

__u64 pm_runs;
struct counts pm_last;
const volatile __u32 pm_weight = 3;

SEC("tc") int fill(struct __sk_buff *skb)
{
	struct flow flow = {.src = 0x0100000a,
			    .port = 0x3500,
			    .mac = {2, 0, 0, 0, 0, 1},
			    .color = GREEN};
	struct counts counts = {.packets = (1ULL << 63) + 1,
				.balance = -5,
				.low = 9,
				.high = 2049,
				.label = "a\"b",
				.at = {{1, 2}, {3, 4}}};
	struct {
		__u32 length, address;
	} prefix = {24, 0x0100000a};
	__u32 zero = 0, one = 1;
	struct counts *own;

	bpf_map_update_elem(&pm_hash, &flow, &counts, BPF_ANY);
	bpf_map_update_elem(&pm_lru, &flow, &counts, BPF_ANY);
	bpf_map_update_elem(&pm_array, &one, &counts, BPF_ANY);
	bpf_map_update_elem(&pm_trie, &prefix, &one, BPF_ANY);
	bpf_map_update_elem(&pm_inner, &one, &counts, BPF_ANY);
	counts.packets = 7;
	bpf_map_push_elem(&pm_queue, &counts, 0);
	bpf_map_push_elem(&pm_stack, &counts, 0);
	counts.packets = 8;
	bpf_map_push_elem(&pm_queue, &counts, 0);
	bpf_map_push_elem(&pm_stack, &counts, 0);
	bpf_map_update_elem(&pm_cpu_hash, &one, &counts, BPF_ANY);
	own = bpf_map_lookup_elem(&pm_cpu_array, &zero);
	if (own)
		own->packets += pm_weight;
	bpf_ringbuf_output(&pm_ring, &prefix, sizeof(prefix), 0);
	bpf_perf_event_output(skb, &pm_events, BPF_F_CURRENT_CPU, &prefix, sizeof(prefix));
	pm_last = counts;
	pm_runs++;
	return 0;
}

SEC("raw_tp") int sample(void *ctx)
{
	bpf_get_stackid(ctx, &pm_stacks, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
