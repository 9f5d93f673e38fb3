/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * Events: what the runtime shall know at once and not only when the window closes.
 *
 *	RING(NAME(events), 65536)
 *	ring__send(&NAME(events), &NAME(events_lost), p->half, &event, sizeof(event))
 *
 * The runtime (runtime/probe/event.h) is woken by the first event that it has not seen. One that finds no room is counted in MAP_lost, in the
 * window of its packet: in a manifest, { map = "events_lost", kind = "array", entries = 1, role = "lost" }.
 */
#ifndef PERILUNE_RING_H
#define PERILUNE_RING_H

struct ring_lost {
	__u64 events;
};

/* BYTES: a power of two and whole pages; eight octets an event are the ring's own. */
#define RING(MAP, BYTES)                                                                           \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                \
		__uint(max_entries, BYTES);                                                        \
	} MAP SEC(".maps");                                                                        \
	WINDOWED_ARRAY(MAP##_lost, struct ring_lost, 1)

static __always_inline void ring__count_lost(void *lost, __u32 half)
{
	struct ring_lost *count = half__value(lost, half, 1, 0);

	if (count)
		count__own(count->events, 1);
}

/* Room for an event of `size` bytes, a constant, to be filled and then given to bpf_ringbuf_submit(event, 0); NULL: counted as lost. */
static __always_inline void *ring__room(void *ring, void *lost, __u32 half, __u64 size)
{
	void *event = bpf_ringbuf_reserve(ring, size, 0);

	if (!event)
		ring__count_lost(lost, half);
	return event;
}

/* Copies an event of `size` bytes into the ring. Not 0 when it was lost, which is counted. */
static __always_inline long ring__send(void *ring, void *lost, __u32 half, void *event, __u64 size)
{
	long err = bpf_ringbuf_output(ring, event, size, 0);

	if (err)
		ring__count_lost(lost, half);
	return err;
}

#endif
