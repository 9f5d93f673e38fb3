/* SPDX-License-Identifier: Apache-2.0 */
#include "extract.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CHUNK 4096	/* entries asked for at once */
#define CHUNK_BYTES (4UL << 20) /* unless they would need more memory than this */
#define MIN_CHUNK 16

void batch__init(struct batch *batch, const struct layout *layout)
{
	*batch = (struct batch){.layout = layout};
}

void batch__free(struct batch *batch)
{
	if (!batch)
		return;
	free(batch->records);
	*batch = (struct batch){.layout = batch->layout};
}

static int by_key(const void *a, const void *b, void *key_size)
{
	return memcmp(a, b, *(const size_t *)key_size);
}

void batch__sort(struct batch *batch)
{
	size_t key_size = batch->layout->key_size;

	if (batch->count > 1)
		qsort_r(batch->records, batch->count, batch->layout->stride, by_key, &key_size);
}

/* One read: what is asked and what it needs. */
struct reader {
	const struct extract_map *map;
	struct batch *batch;
	size_t key_size;
	size_t slot;   /* bytes of one CPU's value as the kernel hands it out */
	size_t stored; /* bytes of a whole value: slot × CPUs */
	size_t cpus;   /* 1 unless per-CPU */
	bool array, clear;
	unsigned char *keys, *values; /* `chunk` of each */
	uint32_t chunk;
};

static int reserve(struct batch *batch, size_t more)
{
	size_t need = batch->count + more, capacity = batch->capacity ? batch->capacity : 64;
	unsigned char *records;

	if (need <= batch->capacity)
		return 0;
	while (capacity < need)
		capacity *= 2;
	records = reallocarray(batch->records, capacity, batch->layout->stride);
	if (!records)
		return -ENOMEM;
	batch->records = records;
	batch->capacity = capacity;
	return 0;
}

/* Room for `count` entries in the scratch buffers. */
static int set_chunk(struct reader *r, uint64_t count)
{
	unsigned char *keys, *values;

	if (count > UINT32_MAX)
		return -ENOSPC;
	keys = reallocarray(r->keys, count, r->key_size);
	if (keys)
		r->keys = keys;
	values = reallocarray(r->values, count, r->stored);
	if (values)
		r->values = values;
	if (!keys || !values)
		return -ENOMEM;
	r->chunk = (uint32_t)count;
	return 0;
}

static int prepare(struct reader *r, const struct extract_map *map, bool clear, struct batch *batch)
{
	const struct layout *layout = batch->layout;
	bool per_cpu = map->type == BPF_MAP_TYPE_PERCPU_HASH ||
		       map->type == BPF_MAP_TYPE_LRU_PERCPU_HASH ||
		       map->type == BPF_MAP_TYPE_PERCPU_ARRAY;
	uint64_t most, want;
	int cpus = 1;

	*r = (struct reader){.map = map,
			     .batch = batch,
			     .clear = clear,
			     .key_size = layout->key_size};
	switch (map->type) {
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_PERCPU_ARRAY:
		r->array = true;
		if (layout->key_size != sizeof(uint32_t) ||
		    (uint64_t)map->first + map->entries > map->max_entries)
			return -ERANGE;
		break;
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (per_cpu)
		cpus = libbpf_num_possible_cpus();
	if (cpus < 0)
		return cpus;
	r->cpus = (size_t)cpus;
	r->slot = per_cpu ? (layout->value_size + 7UL) & ~7UL : layout->value_size;
	r->stored = r->slot * r->cpus;
	want = CHUNK_BYTES / (r->key_size + r->stored + 1);
	want = want > FIRST_CHUNK ? FIRST_CHUNK : want < MIN_CHUNK ? MIN_CHUNK : want;
	most = r->array ? map->entries : map->max_entries;
	return set_chunk(r, want > most ? (most ? most : 1) : want);
}

/* Appends one entry as a record: key and value apart and padded, per-CPU values folded. There is room. */
static void append(struct reader *r, const unsigned char *key, const unsigned char *value)
{
	const struct layout *layout = r->batch->layout;
	unsigned char *record = r->batch->records + r->batch->count * layout->stride;
	unsigned char *into = record + layout->value_offset;

	memset(record + layout->value_offset - 8, 0, layout->value_offset ? 8 : 0);
	memcpy(record, key, r->key_size);
	if (layout->stride > layout->value_offset)
		memset(record + layout->stride - 8, 0, 8);
	if (r->cpus > 1)
		layout__fold(layout, into, value, r->slot, r->cpus);
	else
		memcpy(into, value, layout->value_size);
	r->batch->count++;
}

/* Array keys become relative to the first index that was asked for. */
static int append_chunk(struct reader *r, uint32_t count)
{
	int err = reserve(r->batch, count);

	if (err)
		return err;
	for (uint32_t i = 0; i < count; i++) {
		const unsigned char *key = r->keys + i * r->key_size;
		uint32_t index;

		if (r->array) {
			memcpy(&index, key, sizeof(index));
			index -= r->map->first;
			key = (const unsigned char *)&index;
		}
		append(r, key, r->values + i * r->stored);
	}
	return 0;
}

/* Errors of a first batch call that mean: this kernel has no batches for this map. */
static bool no_batches(int err)
{
	return err == -EINVAL || err == -EOPNOTSUPP || err == -524 /* ENOTSUPP, the kernel's own */;
}

/* -EOPNOTSUPP, with nothing read, where the kernel has no batches for this map. */
static int read_hash_batches(struct reader *r)
{
	size_t token_size = r->key_size > 8 ? r->key_size : 8;
	unsigned char *token = calloc(1, token_size);
	uint64_t most = 2 * (uint64_t)r->map->max_entries + FIRST_CHUNK; /* no bucket has more */
	bool started = false;
	int err = token ? 0 : -ENOMEM, said;

	while (!err && r->batch->count < r->map->max_entries) {
		void *in = started ? token : NULL;
		uint32_t count = r->chunk;

		said = r->clear ? bpf_map_lookup_and_delete_batch(r->map->fd, in, token, r->keys,
								  r->values, &count, NULL)
				: bpf_map_lookup_batch(r->map->fd, in, token, r->keys, r->values,
						       &count, NULL);
		if (said ==
		    -ENOSPC) { /* a bucket holds more than the buffer; nothing of it was taken */
			err = r->chunk > most ? -ENOSPC : set_chunk(r, 2 * (uint64_t)r->chunk);
			continue;
		}
		if (said && said != -ENOENT) {
			err = !started && no_batches(said) ? -EOPNOTSUPP : said;
			break;
		}
		started = true;
		err = append_chunk(r, count > r->chunk ? r->chunk : count);
		if (said == -ENOENT)
			break;
	}
	free(token);
	return err;
}

/* Walks the keys and reads each; the keys come first, since deleting under get_next_key starts it over. */
static int read_hash_single(struct reader *r)
{
	uint32_t most = r->map->max_entries, n = 0;
	unsigned char *keys = reallocarray(NULL, most ? most : 1, r->key_size);
	int err = keys ? 0 : -ENOMEM;

	while (!err && n < most) {
		err = bpf_map_get_next_key(r->map->fd, n ? keys + (n - 1) * r->key_size : NULL,
					   keys + n * r->key_size);
		n += !err;
	}
	if (err == -ENOENT)
		err = 0;
	for (uint32_t i = 0; !err && i < n; i++) {
		const unsigned char *key = keys + i * r->key_size;

		err = bpf_map_lookup_elem(r->map->fd, key, r->values);
		if (!err)
			err = reserve(r->batch, 1);
		if (!err)
			append(r, key, r->values);
		if (!err && r->clear)
			err = bpf_map_delete_elem(r->map->fd, key);
		if (err == -ENOENT) /* somebody else removed it */
			err = 0;
	}
	free(keys);
	return err;
}

static int read_array_batches(struct reader *r)
{
	uint32_t done = 0, token = 0;
	int err = 0;

	while (!err && done < r->map->entries) {
		uint32_t before = r->map->first + done -
				  1; /* a batch begins after the key it is given */
		uint32_t left = r->map->entries - done, count = left < r->chunk ? left : r->chunk;

		err = bpf_map_lookup_batch(r->map->fd, before == UINT32_MAX ? NULL : &before,
					   &token, r->keys, r->values, &count, NULL);
		if (err && err != -ENOENT)
			return !done && no_batches(err) ? -EOPNOTSUPP : err;
		if (!count)
			return -EIO;
		err = append_chunk(r, count);
		done += count;
	}
	return err;
}

static int read_array_single(struct reader *r)
{
	int err = 0;

	for (uint32_t i = 0; !err && i < r->map->entries; i++) {
		uint32_t index = r->map->first + i;

		err = bpf_map_lookup_elem(r->map->fd, &index, r->values);
		memcpy(r->keys, &index, sizeof(index));
		if (!err)
			err = append_chunk(r, 1);
	}
	return err;
}

static int zero_array(struct reader *r)
{
	uint32_t entries = r->map->entries, batched = 0;
	int err = 0;

	memset(r->values, 0, (size_t)r->chunk * r->stored);
	while (r->map->way == EXTRACT_BEST && batched < entries) {
		uint32_t count = entries - batched < r->chunk ? entries - batched : r->chunk;

		for (uint32_t i = 0; i < count; i++) {
			uint32_t index = r->map->first + batched + i;

			memcpy(r->keys + i * sizeof(index), &index, sizeof(index));
		}
		err = bpf_map_update_batch(r->map->fd, r->keys, r->values, &count, NULL);
		if (err && (batched || !no_batches(err)))
			return err;
		if (err)
			break;
		batched += count;
	}
	err = 0;
	for (uint32_t i = batched; !err && i < entries; i++) {
		uint32_t index = r->map->first + i;

		err = bpf_map_update_elem(r->map->fd, &index, r->values, BPF_ANY);
	}
	return err;
}

int extract__read(const struct extract_map *map, bool clear, struct batch *batch)
{
	struct reader r;
	int err;

	batch->count = 0;
	err = prepare(&r, map, clear, batch);
	if (err)
		goto out;
	err = -EOPNOTSUPP;
	if (map->way == EXTRACT_BEST)
		err = r.array ? read_array_batches(&r) : read_hash_batches(&r);
	if (err == -EOPNOTSUPP)
		err = r.array ? read_array_single(&r) : read_hash_single(&r);
	if (!err && clear && r.array)
		err = zero_array(&r);
out:
	free(r.keys);
	free(r.values);
	return err;
}
