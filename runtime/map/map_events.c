/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map_events.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/perf_event.h>

#define PAGES 64 /* of buffer, for each CPU */

struct map_events {
	struct perf_buffer *buffer;
	map_events_fn fn;
	void *arg;
	uint64_t lost;
	bool done;
};

static enum bpf_perf_event_ret on_event(void *arg, int cpu, struct perf_event_header *header)
{
	struct map_events *events = arg;
	const struct {
		struct perf_event_header header;
		uint32_t size;
		char data[];
	} *sample = (const void *)header;
	const struct {
		struct perf_event_header header;
		uint64_t id, lost;
	} *loss = (const void *)header;

	if (header->type == PERF_RECORD_LOST)
		events->lost += loss->lost;
	if (header->type == PERF_RECORD_SAMPLE && !events->done)
		events->done = !events->fn(events->arg, cpu, sample->data, sample->size);
	return events->done ? LIBBPF_PERF_EVENT_DONE : LIBBPF_PERF_EVENT_CONT;
}

int map_events__open(const struct map *map, map_events_fn fn, void *arg, struct map_events **out,
		     struct error *error)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_SW_BPF_OUTPUT,
		.sample_type = PERF_SAMPLE_RAW,
		.sample_period = 1,
		.wakeup_events = 1,
	};
	struct map_events *events = calloc(1, sizeof(*events));
	int err;

	if (!events)
		return error__set(error, -ENOMEM, "out of memory");
	events->fn = fn;
	events->arg = arg;
	events->buffer = perf_buffer__new_raw(map->fd, PAGES, &attr, on_event, events, NULL);
	if (!events->buffer) {
		err = -errno;
		free(events);
		if (err == -ENODEV || err == -E2BIG) {
			error__set(error, err, "the map has places for %u CPUs, which are not all",
				   map->max_entries);
			return error__hint(error, err,
					   "make it with as many entries as there are CPUs");
		}
		return map__explain(error, err, "cannot listen to the map");
	}
	*out = events;
	return 0;
}

void map_events__free(struct map_events *events)
{
	if (!events)
		return;
	perf_buffer__free(events->buffer);
	free(events);
}

int map_events__poll(struct map_events *events, int ms)
{
	int n = perf_buffer__poll(events->buffer, ms);

	return n < 0 && n != -EINTR && !events->done ? n : 0;
}

uint64_t map_events__lost(const struct map_events *events)
{
	return events->lost;
}
