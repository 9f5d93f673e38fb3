/* SPDX-License-Identifier: Apache-2.0 */
/* Opening, and what all ways have in common. */
#include "extract/extract_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define MIN_STEP 4

/* The better one first. */
static const struct extract_ops *const all_ways[] = {
	&extract_mapped,     &extract_gather, &extract_batch_hash,   &extract_batch_array,
	&extract_batch_keys, &extract_queue,  &extract_single_array, &extract_single_keys,
	&extract_pop,	     &extract_ring,
};

const char *extract_way__name(enum extract_way way)
{
	static const char *const names[] = {
		[EXTRACT_BEST] = "best",   [EXTRACT_MAPPED] = "mapped", [EXTRACT_GATHER] = "gather",
		[EXTRACT_BATCH] = "batch", [EXTRACT_SINGLE] = "single", [EXTRACT_POP] = "pop",
		[EXTRACT_RING] = "ring",
	};

	return names[way];
}

/* Why entries of this kind of map cannot be read, or NULL. */
static const char *refuse_type(const struct extract *e, uint32_t type, uint32_t value_size)
{
	switch (type) {
	case BPF_MAP_TYPE_RINGBUF:
		if (e->quiet && e->layout->value_size)
			return NULL;
		/* fall through */
	case BPF_MAP_TYPE_USER_RINGBUF:
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
		return "it is a stream of events, not a table";
	case BPF_MAP_TYPE_BLOOM_FILTER:
		return "a Bloom filter can be asked for a value, but does not list any";
	case BPF_MAP_TYPE_SK_STORAGE:
	case BPF_MAP_TYPE_INODE_STORAGE:
	case BPF_MAP_TYPE_TASK_STORAGE:
	case BPF_MAP_TYPE_CGRP_STORAGE:
		return "the kernel does not list the owners of local storage";
	case BPF_MAP_TYPE_XSKMAP:
		return "the kernel does not tell which sockets are in it";
	case BPF_MAP_TYPE_ARENA:
		return "an arena is memory without entries";
	case BPF_MAP_TYPE_SOCKMAP:
	case BPF_MAP_TYPE_SOCKHASH:
	case BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
		return value_size == sizeof(uint64_t)
			       ? NULL
			       : "the kernel tells sockets only where values have 8 bytes";
	default:
		return NULL;
	}
}

static const char *type_name(uint32_t type)
{
	const char *name = libbpf_bpf_map_type_str((enum bpf_map_type)type);

	return name ? name : "unknown to this libbpf";
}

static bool is_per_cpu(uint32_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH ||
	       type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

static bool is_array(uint32_t type)
{
	return type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_ARRAY_OF_MAPS;
}

/* The kernel fills our buffers by its own sizes, so they are asked of the kernel. */
static int check_map(struct extract *e, struct error *error)
{
	const struct layout *layout = e->layout;
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	int err = bpf_map_get_info_by_fd(e->map.fd, &info, &len);
	const char *reason;

	if (err)
		return error__set(error, err, "the map does not say what it is: %s",
				  strerror(-err));
	if (info.type != e->map.type)
		return error__set(error, -EINVAL, "the map is of type %s, not %s",
				  type_name(info.type), type_name(e->map.type));
	reason = refuse_type(e, info.type, info.value_size);
	if (reason)
		return error__set(error, -EOPNOTSUPP, "a map of type %s cannot be read: %s",
				  type_name(info.type), reason);
	if (info.type == BPF_MAP_TYPE_RINGBUF) /* its records may be of any size */
		return 0;
	if (info.value_size != layout->value_size ||
	    (info.key_size != layout->key_size && !(e->array && !layout->key_size)))
		return error__set(error, -EINVAL,
				  "keys and values of %u and %u bytes are read as %u and %u",
				  info.key_size, info.value_size, layout->key_size,
				  layout->value_size);
	if (e->array && (uint64_t)e->map.first + e->map.entries > info.max_entries)
		return error__set(error, -ERANGE, "entries %u to %llu of an array that has %u",
				  e->map.first,
				  (unsigned long long)e->map.first + e->map.entries - 1,
				  info.max_entries);
	e->key_size = info.key_size;
	return 0;
}

static int set_sizes(struct extract *e, struct error *error)
{
	size_t want, most = e->array ? e->map.entries : e->map.max_entries;
	int cpus = e->per_cpu ? libbpf_num_possible_cpus() : 1;

	if (cpus < 0)
		return error__set(error, cpus, "cannot tell how many CPUs there are: %s",
				  strerror(-cpus));
	if (e->layout->cpus > 1 && e->layout->cpus != (uint32_t)cpus)
		return error__set(error, -EINVAL, "a layout for %u CPUs, where there are %d",
				  e->layout->cpus, cpus);
	e->cpus = (size_t)cpus;
	e->slot = e->per_cpu ? (e->layout->value_size + 7UL) & ~7UL : e->layout->value_size;
	e->stored = e->slot * e->cpus;
	e->most = 2 * (uint64_t)most;
	want = EXTRACT_SCRATCH / (e->key_size + e->stored + 1);
	want = want > EXTRACT_CHUNK ? EXTRACT_CHUNK : want < MIN_STEP ? MIN_STEP : want;
	e->step = (uint32_t)(want > most ? (most ? most : 1) : want);
	return 0;
}

static int set_filters(struct extract *e, const struct extract_options *options,
		       struct error *error)
{
	if (options->nfilters > EXTRACT_FILTERS)
		return error__set(error, -E2BIG, "%zu filters are more than %d", options->nfilters,
				  EXTRACT_FILTERS);
	for (size_t i = 0; i < options->nfilters; i++) {
		const struct field *f = options->filters[i].field;
		bool sized = f->size == 1 || f->size == 2 || f->size == 4 || f->size == 8;

		if (!sized || f->bits || f->count != 1 || f->kind == FIELD_FLOAT ||
		    f->kind == FIELD_ADDRESS || f->kind == FIELD_IPV4 || f->kind == FIELD_TEXT ||
		    f->kind == FIELD_BYTES)
			return error__set(error, -EINVAL,
					  "%s is no whole number that entries can be chosen by",
					  f->name);
		e->filters[i] = options->filters[i];
	}
	e->nfilters = options->nfilters;
	return 0;
}

static bool advisable(const struct extract *e, const struct extract_ops *ops)
{
	return ops != &extract_gather ||
	       (e->map.max_entries <= EXTRACT_GATHER_MAX && (e->array || e->quiet));
}

static int choose(struct extract *e, enum extract_way way, struct error *error)
{
	struct error reason = {0};
	int err = -EOPNOTSUPP;

	for (size_t i = 0; err == -EOPNOTSUPP && i < sizeof(all_ways) / sizeof(*all_ways); i++) {
		e->ops = all_ways[i];
		if (way == EXTRACT_BEST ? !advisable(e, e->ops) : e->ops->way != way)
			continue;
		err = e->ops->open(e, &reason);
	}
	if (!err)
		return 0;
	if (!reason.message[0])
		error__set(&reason, err, "%s", strerror(-err));
	return error__set(error, err, "a map of type %s cannot be read%s%s: %s",
			  type_name(e->map.type), way == EXTRACT_BEST ? "" : " by way of ",
			  way == EXTRACT_BEST ? "" : extract_way__name(way), reason.message);
}

int extract__open(const struct extract_map *map, const struct layout *layout,
		  const struct extract_options *options, struct extract **out, struct error *error)
{
	static const struct extract_options none;
	struct extract *e = calloc(1, sizeof(*e));
	int err;

	if (!e)
		return error__set(error, -ENOMEM, "out of memory");
	if (!options)
		options = &none;
	e->map = *map;
	e->layout = layout;
	e->array = is_array(map->type);
	e->per_cpu = is_per_cpu(map->type);
	e->quiet = options->quiet;
	e->map.fd = fcntl(map->fd, F_DUPFD_CLOEXEC, 3);
	if (e->map.fd < 0)
		err = error__set(error, -errno, "the map is not there: %s", strerror(errno));
	else
		err = check_map(e, error);
	extract_seen__init(&e->seen, e->key_size);
	if (!err)
		err = set_sizes(e, error);
	if (!err)
		err = set_filters(e, options, error);
	if (!err)
		err = choose(e, options->way, error);
	if (err) {
		extract__free(e);
		return err;
	}
	*out = e;
	return 0;
}

void extract__free(struct extract *e)
{
	if (!e)
		return;
	gather__free(e->gather);
	ring_buffer__free(e->ring);
	if (e->mapped)
		munmap(e->mapped, e->mapped_size);
	extract_seen__free(&e->seen);
	free(e->token);
	free(e->keys);
	free(e->values);
	if (e->map.fd >= 0)
		close(e->map.fd);
	free(e);
}

enum extract_way extract__way(const struct extract *e)
{
	return e->ops->way;
}

int extract__start(struct extract *e, bool clear)
{
	e->clear = clear;
	e->started = e->ended = e->pending = e->parted = false;
	e->done = e->spent = 0;
	extract_seen__clear(&e->seen);
	return e->ops->start ? e->ops->start(e) : 0;
}

static int next(struct extract *e, struct batch *batch)
{
	int more = 0;

	if (batch->layout != e->layout) /* before anything is taken */
		return -EINVAL;
	if (!e->ended)
		more = e->parted ? extract__next_of_part(e, batch) : e->ops->next(e, batch);
	e->ended = more <= 0;
	return more;
}

int extract__next(struct extract *e, struct batch *batch)
{
	batch->count = 0;
	return next(e, batch);
}

int extract__read(struct extract *e, bool clear, struct batch *batch)
{
	int more;

	batch->count = 0;
	more = extract__start(e, clear);
	if (more)
		return more;
	do
		more = next(e, batch);
	while (more > 0);
	return more;
}
