/* SPDX-License-Identifier: Apache-2.0 */
/* A ring buffer between two windows: all that was put into it, in the order in which room was made for it. */
#include <errno.h>
#include <linux/types.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "extract/extract_impl.h"

/* For libbpf: a negative result ends the go, and this record has been taken all the same. */
static int take(void *arg, void *record, size_t size)
{
	struct extract *e = arg;

	if (size == e->layout->value_size)
		extract__append(e, e->into, NULL, record);
	e->done++;
	return e->done % e->step ? 0 : -EAGAIN;
}

static int ring_open(struct extract *e, struct error *error)
{
	if (e->map.type != BPF_MAP_TYPE_RINGBUF)
		return error__set(error, -EOPNOTSUPP, "it is no ring buffer");
	e->ring = ring_buffer__new(e->map.fd, take, e, NULL);
	return e->ring ? 0 : -errno;
}

static int ring_next(struct extract *e, struct batch *batch)
{
	uint64_t before = e->done;
	int err = batch__reserve(batch, e->step);

	if (err)
		return err;
	e->into = batch;
	ring_buffer__consume(e->ring);
	return e->done - before == e->step;
}

const struct extract_ops extract_ring = {.way = EXTRACT_RING, .open = ring_open, .next = ring_next};
