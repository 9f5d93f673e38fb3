/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <linux/types.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "extract/extract_impl.h"
#include "probe/event.h"

struct event_batch {
	struct event_ring *ring;
	struct layout *layout;
	struct batch batch;
	bool handed; /* to `fn`, since the last event came */
	event_batch_fn fn;
	void *arg;
};

/* Memory that runs out leaves events out, as a ring that is full does. */
static void add(const void *event, size_t size, void *arg)
{
	struct event_batch *events = arg;
	struct batch *batch = &events->batch;
	unsigned char *record;

	if (events->handed) /* what was not taken then is no longer wanted */
		batch->count = 0;
	events->handed = false;
	if (size != events->layout->value_size || batch__reserve(batch, 1))
		return;
	record = batch->records + batch->count++ * events->layout->stride;
	memset(record, 0, events->layout->stride);
	memcpy(record, event, size);
}

static void hand_on(void *arg)
{
	struct event_batch *events = arg;

	if (events->handed || !events->batch.count)
		return;
	events->handed = true;
	events->fn(&events->batch, events->arg); /* may close the ring */
}

static int layout_of(struct probe *probe, const char *type, struct layout **out,
		     struct error *error)
{
	const struct btf *btf = bpf_object__btf(probe__object(probe));
	int id = btf__find_by_name_kind(btf, type, BTF_KIND_STRUCT);
	struct layout_spec spec = {.btf = btf};

	if (id < 0)
		return error__set(error, -ENOENT, "there is no struct %s", type);
	spec.value_type = (__u32)id;
	spec.value_size = (__u32)btf__resolve_size(btf, (__u32)id);
	return layout__new(&spec, out, error);
}

int event_batch__open(struct loop *loop, struct probe *probe, const char *map, const char *type,
		      event_batch_fn fn, void *arg, struct event_batch **out, struct error *error)
{
	struct event_batch *events = calloc(1, sizeof(*events));
	int err;

	if (!events)
		return error__set(error, -ENOMEM, "out of memory");
	events->fn = fn;
	events->arg = arg;
	err = layout_of(probe, type, &events->layout, error);
	if (!err) {
		batch__init(&events->batch, events->layout);
		err = event__open(loop, probe, map, add, hand_on, events, &events->ring, error);
	}
	if (err)
		event_batch__free(events);
	else
		*out = events;
	return err;
}

int event_batch__consume(struct event_batch *events)
{
	return events->ring ? event__consume(events->ring) : 0;
}

void event_batch__close(struct event_batch *events)
{
	event__free(events->ring);
	events->ring = NULL;
}

void event_batch__free(struct event_batch *events)
{
	if (!events)
		return;
	event_batch__close(events);
	batch__free(&events->batch);
	layout__free(events->layout);
	free(events);
}
