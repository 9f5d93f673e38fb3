/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of the kernel: of hashes, by buckets; of arrays and tries, from key to key. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "extract/extract_impl.h"

bool extract__no_batches(int err)
{
	return err == -EINVAL || err == -EOPNOTSUPP || err == -ENOTSUPP_KERNEL;
}

int extract__set_chunk(struct extract *e, uint64_t count)
{
	unsigned char *keys, *values;

	if (count > UINT32_MAX)
		return -ENOSPC;
	keys = reallocarray(e->keys, count, e->key_size ? e->key_size : 1);
	if (keys)
		e->keys = keys;
	values = reallocarray(e->values, count, e->stored);
	if (values)
		e->values = values;
	if (!keys || !values)
		return -ENOMEM;
	e->chunk = (uint32_t)count;
	return 0;
}

/* A call for no entry at all tells whether the kernel has batches for this map. */
int extract__open_batches(struct extract *e, struct error *error)
{
	uint32_t none = 0;
	int err;

	free(e->token);
	e->token = calloc(1, e->key_size > 8 ? e->key_size : 8);
	err = e->token ? extract__set_chunk(e, e->step) : -ENOMEM;
	if (err)
		return err;
	err = bpf_map_lookup_batch(e->map.fd, NULL, e->token, e->keys, e->values, &none, NULL);
	if (extract__no_batches(err))
		return error__set(error, -EOPNOTSUPP, "the kernel has no batches for it");
	return 0;
}

static int hash_open(struct extract *e, struct error *error)
{
	switch (e->map.type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
	case BPF_MAP_TYPE_HASH_OF_MAPS:
		return extract__open_batches(e, error);
	default:
		return error__set(error, -EOPNOTSUPP, "the kernel has no batches for it");
	}
}

#define PAUSES 64 /* calls in which the kernel gets nowhere, before that is an error */

/*
 * The kernel may stop between two buckets for want of memory or of a lock. What it has given until then, and maybe removed, is there all
 * the same, and so is the place to go on at.
 */
static bool is_pause(int said)
{
	return said == -ENOMEM || said == -EBUSY || said == -EDEADLK || said == -ETIMEDOUT;
}

/* A bucket is given whole or not at all, so an entry comes once even if others write. */
static int hash_next(struct extract *e, struct batch *batch)
{
	uint32_t count;
	int said, err;

	for (;;) {
		void *in = e->started ? e->token : NULL;

		err = batch__reserve(batch, e->chunk); /* before anything is taken */
		if (err)
			return err;
		count = e->chunk;
		said = e->clear ? bpf_map_lookup_and_delete_batch(e->map.fd, in, e->token, e->keys,
								  e->values, &count, NULL)
				: bpf_map_lookup_batch(e->map.fd, in, e->token, e->keys, e->values,
						       &count, NULL);
		if (said != -ENOSPC)
			break;
		/* The next bucket holds more than the buffer; nothing of it was taken. */
		err = e->chunk > e->most + EXTRACT_CHUNK
			      ? -ENOSPC
			      : extract__set_chunk(e, 2 * (uint64_t)e->chunk);
		if (err)
			return err;
	}
	if (said && said != -ENOENT && !is_pause(said))
		return said;
	e->started = true;
	count = count > e->chunk ? e->chunk : count;
	for (uint32_t i = 0; i < count; i++)
		extract__append(e, batch, e->keys + i * e->key_size, e->values + i * e->stored);
	e->done += count;
	if (is_pause(said) && !count && e->spent++ == PAUSES)
		return said;
	return said != -ENOENT && e->done < e->most;
}

const struct extract_ops extract_batch_hash = {.way = EXTRACT_BATCH,
					       .open = hash_open,
					       .next = hash_next};

static int array_open(struct extract *e, struct error *error)
{
	if (e->map.type == BPF_MAP_TYPE_ARRAY || e->map.type == BPF_MAP_TYPE_PERCPU_ARRAY)
		return extract__open_batches(e, error);
	return error__set(error, -EOPNOTSUPP, "the kernel has no batches for it");
}

int extract__zero(struct extract *e, uint32_t first, uint32_t count)
{
	uint32_t done = 0;
	int err = 0;

	memset(e->values, 0, (size_t)e->chunk * e->stored);
	while (e->ops->way == EXTRACT_BATCH && done < count) {
		uint32_t n = count - done < e->chunk ? count - done : e->chunk;

		for (uint32_t i = 0; i < n; i++) {
			uint32_t index = first + done + i;

			memcpy(e->keys + i * sizeof(index), &index, sizeof(index));
		}
		err = bpf_map_update_batch(e->map.fd, e->keys, e->values, &n, NULL);
		if (err)
			break;
		done += n;
	}
	if (err && (done || !extract__no_batches(err)))
		return err;
	for (err = 0; !err && done < count; done++) {
		uint32_t index = first + done;

		err = bpf_map_update_elem(e->map.fd, &index, e->values, BPF_ANY);
	}
	return err;
}

static int array_next(struct extract *e, struct batch *batch)
{
	uint32_t first = e->map.first + (uint32_t)e->done, before = first - 1;
	uint32_t left = e->map.entries - (uint32_t)e->done,
		 count = left < e->chunk ? left : e->chunk;
	int err;

	if (!left)
		return 0;
	/* A batch begins after the key that it is given. */
	err = bpf_map_lookup_batch(e->map.fd, first ? &before : NULL, e->token, e->keys, e->values,
				   &count, NULL);
	if (err && err != -ENOENT)
		return err;
	if (!count || count > e->chunk)
		return -EIO;
	err = batch__reserve(batch, count);
	if (err)
		return err;
	for (uint32_t i = 0; i < count; i++)
		extract__append_element(e, batch, first + i, e->values + i * e->stored);
	if (e->clear)
		err = extract__zero(e, first, count);
	e->done += count;
	return err ? err : e->done < e->map.entries;
}

const struct extract_ops extract_batch_array = {.way = EXTRACT_BATCH,
						.open = array_open,
						.next = array_next};
