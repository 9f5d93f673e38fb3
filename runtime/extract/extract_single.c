/* SPDX-License-Identifier: Apache-2.0 */
/* One element at a time: arrays, and queues and stacks, which can only be taken from. */
#include <errno.h>
#include <string.h>

#include <bpf/bpf.h>

#include "extract/extract_impl.h"

static int array_open(struct extract *e, struct error *error)
{
	if (!e->array)
		return error__set(error, -EOPNOTSUPP, "it is no array");
	return extract__set_chunk(e, 1);
}

static int array_clear(struct extract *e, uint32_t index)
{
	if (e->map.type == BPF_MAP_TYPE_ARRAY_OF_MAPS)
		return bpf_map_delete_elem(e->map.fd, &index);
	return extract__zero(e, index, 1);
}

static int array_next(struct extract *e, struct batch *batch)
{
	for (uint32_t i = 0; i < e->step && e->done < e->map.entries; i++, e->done++) {
		uint32_t index = e->map.first + (uint32_t)e->done;
		int err = batch__reserve(batch, 1);

		if (!err)
			err = bpf_map_lookup_elem(e->map.fd, &index, e->values);
		if (err == -ENOENT) /* no map in this place */
			continue;
		if (err)
			return err;
		extract__append_element(e, batch, index, e->values);
		if (e->clear)
			err = array_clear(e, index);
		if (err && err != -ENOENT)
			return err;
	}
	return e->done < e->map.entries;
}

const struct extract_ops extract_single_array = {.way = EXTRACT_SINGLE,
						 .open = array_open,
						 .next = array_next};

static int queue_open(struct extract *e, struct error *error)
{
	if (e->map.type != BPF_MAP_TYPE_QUEUE && e->map.type != BPF_MAP_TYPE_STACK)
		return error__set(error, -EOPNOTSUPP, "it is neither queue nor stack");
	return extract__set_chunk(e, 1);
}

/* No more than there can have been at the start. */
static int pop_next(struct extract *e, struct batch *batch)
{
	for (uint32_t i = 0; i < e->step && e->done < e->map.max_entries; i++, e->done++) {
		int err = batch__reserve(batch, 1);

		if (!err)
			err = bpf_map_lookup_and_delete_elem(e->map.fd, NULL, e->values);
		if (err)
			return err == -ENOENT ? 0 : err;
		extract__append(e, batch, NULL, e->values);
	}
	return e->done < e->map.max_entries;
}

/* Without taking it, only the head is to be seen. */
static int queue_next(struct extract *e, struct batch *batch)
{
	int err;

	if (e->clear)
		return pop_next(e, batch);
	err = batch__reserve(batch, 1);
	if (!err)
		err = bpf_map_lookup_elem(e->map.fd, NULL, e->values);
	if (err)
		return err == -ENOENT ? 0 : err;
	extract__append(e, batch, NULL, e->values);
	return 0;
}

const struct extract_ops extract_queue = {.way = EXTRACT_SINGLE,
					  .open = queue_open,
					  .next = queue_next};
const struct extract_ops extract_pop = {.way = EXTRACT_POP, .open = queue_open, .next = pop_next};
