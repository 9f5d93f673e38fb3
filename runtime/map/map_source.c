/* SPDX-License-Identifier: Apache-2.0 */
#include "map/map_source_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>

#define CHUNK_BYTES (1U << 20)
#define CHUNK_RECORDS 4096U

static const struct map_source_ops *ops_of(const struct map *map)
{
	switch (map->kind ? map->kind->way : MAP_ENTRIES) {
	case MAP_POP:
		return &map_source_queue;
	case MAP_TASKS:
		return &map_source_tasks;
	case MAP_CGROUPS:
		return &map_source_cgroups;
	case MAP_SOCKETS:
		return &map_source_sockets;
	case MAP_ENTRIES:
		return &map_source_extract;
	default:
		return &map_source_keys;
	}
}

static int prepare(struct map_source *source)
{
	const struct map *map = source->map;
	int cpus = map->kind && map->kind->per_cpu ? libbpf_num_possible_cpus() : 1;

	if (cpus < 0)
		return cpus;
	source->cpus = (size_t)cpus;
	source->slot = (map->value_size + 7UL) & ~7UL;
	source->value = calloc(source->cpus, source->slot ? source->slot : 8);
	return source->value ? 0 : -ENOMEM;
}

int map_source__open(const struct map *map, const struct layout *layout, const struct map_read *how,
		     struct map_source **out, struct error *error)
{
	struct map_source *source = calloc(1, sizeof(*source));
	int err;

	if (!source)
		return error__set(error, -ENOMEM, "out of memory");
	*source =
		(struct map_source){.ops = ops_of(map), .map = map, .layout = layout, .how = *how};
	err = prepare(source);
	if (err)
		error__set(error, err, "cannot read the map: %s", strerror(-err));
	if (!err)
		err = source->ops->open(source, error);
	/* Types that extract does not read, and those that are not known here, go key by key. */
	if (err == -EOPNOTSUPP && source->ops == &map_source_extract) {
		source->ops->close(source);
		source->ops = &map_source_keys;
		err = source->ops->open(source, error);
	}
	if (err) {
		map_source__free(source);
		return err;
	}
	*out = source;
	return 0;
}

int map_source__next(struct map_source *source, struct batch *batch, struct error *error)
{
	batch->count = 0;
	return source->ops->next(source, batch, error);
}

void map_source__free(struct map_source *source)
{
	if (!source)
		return;
	source->ops->close(source);
	free(source->value);
	free(source);
}

const char *map_source__note(const struct map_source *source)
{
	return source->note;
}

uint32_t map_source__chunk(const struct map_source *source)
{
	uint32_t fit = CHUNK_BYTES / (source->layout->stride ? source->layout->stride : 1);

	return !fit ? 1 : fit > CHUNK_RECORDS ? CHUNK_RECORDS : fit;
}

static int reserve(struct batch *batch)
{
	size_t capacity = batch->capacity ? 2 * batch->capacity : 16;
	unsigned char *records;

	if (batch->count < batch->capacity)
		return 0;
	records = reallocarray(batch->records, capacity, batch->layout->stride);
	if (!records)
		return -ENOMEM;
	batch->records = records;
	batch->capacity = capacity;
	return 0;
}

int map_source__append(struct map_source *source, const void *key, struct batch *batch)
{
	const struct layout *layout = source->layout;
	int err = reserve(batch);
	unsigned char *record, *into;

	if (err)
		return err;
	record = batch->records + batch->count++ * layout->stride;
	into = record + layout->value_offset;
	memset(record, 0, layout->stride);
	if (layout->key_size)
		memcpy(record, key, layout->key_size);
	if (source->cpus > 1 && layout->cpus == 1)
		layout__fold(layout, into, source->value, source->slot, source->cpus);
	else if (source->cpus > 1)
		memcpy(into, source->value, source->slot * source->cpus);
	else
		memcpy(into, source->value, layout->value_size);
	return 0;
}

/* ---------------------------------------------------------------------------------- by extract */

static int extract_open(struct map_source *source, struct error *error)
{
	const struct map *map = source->map;
	const struct extract_map what = {.fd = map->fd,
					 .type = map->type,
					 .flags = map->flags,
					 .max_entries = map->max_entries,
					 .entries = map->max_entries};
	struct extract *extract;
	int err = extract__open(&what, source->layout, NULL, &extract, error);

	if (err)
		return err;
	source->state = extract;
	err = extract__start(extract, false);
	return err ? map__explain(error, err, "cannot read the map") : 0;
}

static int extract_next(struct map_source *source, struct batch *batch, struct error *error)
{
	int got = extract__next(source->state, batch);

	return got < 0 ? map__explain(error, got, "cannot read the map") : got;
}

static void extract_close(struct map_source *source)
{
	extract__free(source->state);
	source->state = NULL;
}

const struct map_source_ops map_source_extract = {extract_open, extract_next, extract_close};
