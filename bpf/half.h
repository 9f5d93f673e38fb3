/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Windowed maps: two halves, one written by packets, the other read and cleared
 * by the runtime.
 *
 * A packet's half is fixed when it arrives (struct packet.half) and never
 * looked up again, so every map of a window is cut at the same packet. The
 * runtime knows these maps by their names: X with X_0 and X_1 for a hash, X
 * alone for an array. They are never LRU: an LRU map loses rows without an
 * error. What does not fit is counted by the caller instead.
 */
#ifndef PERILUNE_HALF_H
#define PERILUNE_HALF_H

/* A hash of KEY → VALUE whose rows all CPUs share: count in them with
 * count__shared(). The runtime sets max_entries. */
#define WINDOWED_HASH(MAP, KEY, VALUE) WINDOWED_HASH_(MAP, KEY, VALUE)
#define WINDOWED_HASH_(MAP, KEY, VALUE)                                                            \
	struct MAP##_half {                                                                        \
		__uint(type, BPF_MAP_TYPE_HASH);                                                   \
		__type(key, KEY);                                                                  \
		__type(value, VALUE);                                                              \
		__uint(max_entries, 65536);                                                        \
	} MAP##_0 SEC(".maps"), MAP##_1 SEC(".maps");                                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                          \
		__uint(max_entries, 2);                                                            \
		__type(key, __u32);                                                                \
		__array(values, struct MAP##_half);                                                \
	} MAP SEC(".maps") = {.values = {&MAP##_0, &MAP##_1}}

/* ENTRIES values, indexed by KEY (an enum or __u32), of which each CPU has its
 * own: count with count__own(). */
#define WINDOWED_ARRAY(MAP, VALUE, ENTRIES)                                                        \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                           \
		__uint(max_entries, 2 * (ENTRIES));                                                \
		__type(key, __u32);                                                                \
		__type(value, VALUE);                                                              \
	} MAP SEC(".maps")

#define count__shared(counter, n) ((void)__sync_fetch_and_add(&(counter), (n)))
#define count__own(counter, n) ((void)((counter) += (n)))

/* The row of `key` in this half of a windowed hash, made from `fresh` if there
 * is none; NULL when it does not fit. */
static __always_inline void *half__row(void *outer, __u32 half, const void *key, const void *fresh)
{
	void *inner = bpf_map_lookup_elem(outer, &half);
	void *row;

	if (!inner)
		return NULL;
	row = bpf_map_lookup_elem(inner, key);
	if (row)
		return row;
	/* Another CPU may be first; then its row is the one to count in, so the
	 * result of the insert does not matter. */
	bpf_map_update_elem(inner, key, fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(inner, key);
}

/* This half's value number `index` of a windowed array with `entries` values.
 * Never NULL for index < entries. */
static __always_inline void *half__value(void *array, __u32 half, __u32 entries, __u32 index)
{
	__u32 slot = half * entries + index;

	return bpf_map_lookup_elem(array, &slot);
}

#endif
