/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Windowed maps: two halves, one written by packets, the other read and cleared
 * by the runtime.
 *
 * A packet's half is fixed when it arrives (struct packet.half) and never
 * looked up again, so every map of a window is cut at the same packet. The
 * runtime knows these maps by their names, and a manifest by their kind: X with
 * X_0 and X_1, kind "map", for maps of rows and for queues; X alone, kind
 * "array", for arrays. They are never LRU: an LRU map loses rows without an
 * error. What does not fit is counted by the caller instead.
 *
 *	WINDOWED_HASH		half__row	count__shared
 *	WINDOWED_PERCPU_HASH	half__row	count__own
 *	WINDOWED_ARRAY		half__value	count__own
 *	WINDOWED_SHARED_ARRAY	half__value	count__shared
 *	WINDOWED_QUEUE, _STACK	half__push
 *	WINDOWED_RING		half__room, half__keep
 */
#ifndef PERILUNE_HALF_H
#define PERILUNE_HALF_H

#define WINDOWED_ENTRIES 65536 /* of each half, unless the runtime sets max_entries */

/* The two halves of MAP, both a struct MAP_half, in the array that packets find theirs in. */
#define WINDOWED_HALVES_(MAP)                                                                      \
	struct MAP##_half MAP##_0 SEC(".maps"), MAP##_1 SEC(".maps");                              \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                          \
		__uint(max_entries, 2);                                                            \
		__type(key, __u32);                                                                \
		__array(values, struct MAP##_half);                                                \
	} MAP SEC(".maps") = {.values = {&MAP##_0, &MAP##_1}}

#define WINDOWED_ROWS_(MAP, TYPE, KEY, VALUE)                                                      \
	struct MAP##_half {                                                                        \
		__uint(type, TYPE);                                                                \
		__type(key, KEY);                                                                  \
		__type(value, VALUE);                                                              \
		__uint(max_entries, WINDOWED_ENTRIES);                                             \
	};                                                                                         \
	WINDOWED_HALVES_(MAP)

#define WINDOWED_PUSHED_(MAP, TYPE, VALUE)                                                         \
	struct MAP##_half {                                                                        \
		__uint(type, TYPE);                                                                \
		__type(value, VALUE);                                                              \
		__uint(max_entries, WINDOWED_ENTRIES);                                             \
	};                                                                                         \
	WINDOWED_HALVES_(MAP)

#define WINDOWED_RECORDS_(MAP, VALUE)                                                              \
	struct MAP##_half {                                                                        \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                \
		VALUE (*max_entries)[WINDOWED_ENTRIES];                                            \
	};                                                                                         \
	WINDOWED_HALVES_(MAP)

#define WINDOWED_SLOTS_(MAP, TYPE, FLAGS, VALUE, ENTRIES)                                          \
	struct {                                                                                   \
		__uint(type, TYPE);                                                                \
		__uint(map_flags, FLAGS);                                                          \
		__uint(max_entries, 2 * (ENTRIES));                                                \
		__type(key, __u32);                                                                \
		__type(value, VALUE);                                                              \
	} MAP SEC(".maps")

/* A hash of KEY → VALUE whose rows all CPUs share: count in them with
 * count__shared(). */
#define WINDOWED_HASH(MAP, KEY, VALUE) WINDOWED_ROWS_(MAP, BPF_MAP_TYPE_HASH, KEY, VALUE)

/* The same with a value of its own for each CPU: count with count__own(). For
 * few rows: with 1M of them it takes seconds to make. */
#define WINDOWED_PERCPU_HASH(MAP, KEY, VALUE)                                                      \
	WINDOWED_ROWS_(MAP, BPF_MAP_TYPE_PERCPU_HASH, KEY, VALUE)

/* VALUEs one after the other, the first one first, or the last one. */
#define WINDOWED_QUEUE(MAP, VALUE) WINDOWED_PUSHED_(MAP, BPF_MAP_TYPE_QUEUE, VALUE)
#define WINDOWED_STACK(MAP, VALUE) WINDOWED_PUSHED_(MAP, BPF_MAP_TYPE_STACK, VALUE)

/*
 * The same, the first one first, in a ring buffer: made where they are to lie, and read without a system call for each. It has room for as
 * many as the manifest says, or some more. (The kernel knows of no type of value here; the runtime finds it in what __uint would declare as
 * an int.)
 */
#define WINDOWED_RING(MAP, VALUE) WINDOWED_RECORDS_(MAP, VALUE)

/* ENTRIES values, indexed by KEY (an enum or __u32), of which each CPU has its
 * own: count with count__own(). */
#define WINDOWED_ARRAY(MAP, VALUE, ENTRIES)                                                        \
	WINDOWED_SLOTS_(MAP, BPF_MAP_TYPE_PERCPU_ARRAY, 0, VALUE, ENTRIES)

/* The same for all CPUs together: count with count__shared(). Read without a
 * system call. */
#define WINDOWED_SHARED_ARRAY(MAP, VALUE, ENTRIES)                                                 \
	WINDOWED_SLOTS_(MAP, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, VALUE, ENTRIES)

/* A VALUE for each CPU, to make a row in: on the stack there is not room for a big one. Nobody but
 * its template writes it, so what is never set stays 0. */
#define SCRATCH(MAP, VALUE)                                                                        \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                           \
		__uint(max_entries, 1);                                                            \
		__type(key, __u32);                                                                \
		__type(value, VALUE);                                                              \
	} MAP SEC(".maps")

static __always_inline void *scratch__value(void *map)
{
	__u32 only = 0;

	return bpf_map_lookup_elem(map, &only);
}

#define count__shared(counter, n) ((void)__sync_fetch_and_add(&(counter), (n)))
#define count__own(counter, n) ((void)((counter) += (n)))

/* One or the other, as `shared` says when the program is compiled: a row of a WINDOWED_HASH, or the value of a WINDOWED_ARRAY that
 * takes what did not fit. */
#define count__in(shared, counter, n)                                                              \
	do {                                                                                       \
		if (shared)                                                                        \
			count__shared(counter, n);                                                 \
		else                                                                               \
			count__own(counter, n);                                                    \
	} while (0)

/* The row of `key` in this half of a windowed hash; NULL when there is none. */
static __always_inline void *half__find(void *outer, __u32 half, const void *key)
{
	void *inner = bpf_map_lookup_elem(outer, &half);

	return inner ? bpf_map_lookup_elem(inner, key) : NULL;
}

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

/* Puts `value` into this half of a windowed queue or stack. Not 0 when it is
 * full. */
static __always_inline long half__push(void *outer, __u32 half, const void *value)
{
	void *inner = bpf_map_lookup_elem(outer, &half);

	return inner ? bpf_map_push_elem(inner, value, 0) : -1;
}

/* Room for a value of `size` bytes, a constant, in this half of a windowed ring; NULL when it is full. It is to be given to half__keep. */
static __always_inline void *half__room(void *outer, __u32 half, __u64 size)
{
	void *inner = bpf_map_lookup_elem(outer, &half);

	return inner ? bpf_ringbuf_reserve(inner, size, 0) : NULL;
}

/* Nobody waits for it: it is read when the window has closed. */
static __always_inline void half__keep(void *value)
{
	bpf_ringbuf_submit(value, BPF_RB_NO_WAKEUP);
}

/* This half's value number `index` of a windowed array with `entries` values.
 * Never NULL for index < entries. */
static __always_inline void *half__value(void *array, __u32 half, __u32 entries, __u32 index)
{
	__u32 slot = half * entries + index;

	return bpf_map_lookup_elem(array, &slot);
}

#endif
