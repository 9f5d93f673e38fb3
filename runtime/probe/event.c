/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/event.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

struct event_ring {
	struct ring_buffer *buffer;
	struct loop_watch *watch;
	event_fn fn;
	event_done_fn done;
	void *arg;
	int taken; /* in this go */
};

/* For libbpf: a negative result ends the go, and this event has been taken all the same. */
static int on_event(void *arg, void *event, size_t size)
{
	struct event_ring *ring = arg;

	ring->fn(event, size, ring->arg);
	return ++ring->taken < EVENT_AT_ONCE ? 0 : -EAGAIN;
}

static void on_readable(void *arg)
{
	event__consume(arg);
}

int event__open(struct loop *loop, struct probe *probe, const char *name, event_fn fn,
		event_done_fn done, void *arg, struct event_ring **out, struct error *error)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(probe__object(probe), name);
	struct event_ring *ring;
	int err = 0;

	if (!map || bpf_map__type(map) != BPF_MAP_TYPE_RINGBUF)
		return error__set(error, -ENOENT, "there is no ring buffer %s", name);
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return error__set(error, -ENOMEM, "out of memory");
	*ring = (struct event_ring){.fn = fn, .done = done, .arg = arg};
	ring->buffer = ring_buffer__new(bpf_map__fd(map), on_event, ring, NULL);
	if (!ring->buffer) {
		err = error__set(error, -errno, "the ring buffer %s cannot be read: %s", name,
				 strerror(errno));
		goto out;
	}
	/* The map is itself a descriptor to poll; libbpf's epoll around it would be one more wake-up. */
	err = loop_watch__new(loop, bpf_map__fd(map), on_readable, ring, &ring->watch);
	if (err)
		error__set(error, err, "the ring buffer %s cannot be watched: %s", name,
			   strerror(-err));
out:
	if (err)
		event__free(ring);
	else
		*out = ring;
	return err;
}

int event__consume(struct event_ring *ring)
{
	int taken;

	ring->taken = 0;
	ring_buffer__consume(ring->buffer);
	taken = ring->taken;
	if (taken && ring->done)
		ring->done(ring->arg);
	return taken;
}

void event__free(struct event_ring *ring)
{
	if (!ring)
		return;
	loop_watch__free(ring->watch);
	ring_buffer__free(ring->buffer);
	free(ring);
}
