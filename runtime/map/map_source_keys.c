/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key by key, for the types that are small or odd: ids, inner maps, stacks, old cgroup storage; and queues, which have no keys.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "map/map_source_impl.h"

#define ENOTSUPP_KERNEL 524 /* the kernel's own "not supported", which has no name in user space */

struct walk {
	unsigned char *key, *next; /* the one that was read last, and the one to read */
	uint64_t steps, most;	   /* keys gone through, and how many at most */
	bool started;
	uint64_t *seen; /* hashes of the keys that were read, by open addressing; 0: free */
	size_t room, used;
};

/* FNV-1a, then mixed; never 0. */
static uint64_t hash(const unsigned char *key, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < len; i++)
		h = (h ^ key[i]) * 0x100000001b3ULL;
	h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9ULL;
	return (h ^ (h >> 32)) | 1;
}

static void put(uint64_t *seen, size_t room, uint64_t h)
{
	size_t at = h % room;

	while (seen[at])
		at = (at + 1) % room;
	seen[at] = h;
}

/* 1 when this key comes for the first time, 0 when it was read before, -ENOMEM. */
static int first_time(struct walk *walk, const unsigned char *key, size_t len)
{
	uint64_t h = hash(key, len), *bigger;

	for (size_t at = walk->room ? h % walk->room : 0; walk->room && walk->seen[at];
	     at = (at + 1) % walk->room)
		if (walk->seen[at] == h)
			return 0;
	if (2 * walk->used >= walk->room) {
		size_t room = walk->room ? 2 * walk->room : 64;

		bigger = calloc(room, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		for (size_t i = 0; i < walk->room; i++)
			if (walk->seen[i])
				put(bigger, room, walk->seen[i]);
		free(walk->seen);
		walk->seen = bigger;
		walk->room = room;
	}
	put(walk->seen, walk->room, h);
	walk->used++;
	return 1;
}

static int keys_open(struct map_source *source, struct error *error)
{
	size_t size = source->map->key_size;
	struct walk *walk;

	if (!size)
		return error__set(error, -EOPNOTSUPP,
				  "maps of type %u have no keys to read them by",
				  source->map->type);
	walk = calloc(1, sizeof(*walk) + 2 * size);
	if (!walk)
		return error__set(error, -ENOMEM, "out of memory");
	walk->key = (unsigned char *)(walk + 1);
	walk->next = walk->key + size;
	/* A walk starts over when the key it stands on is removed meanwhile: it ends all the same. */
	walk->most = 4ULL * source->map->max_entries + 64;
	source->state = walk;
	return 0;
}

/* Why a look-up failed that is not a missing key. */
static int explain(struct map_source *source, int code, struct error *error)
{
	const struct map *map = source->map;
	char room[16];
	const char *name = map_type__name(map->type, room);

	if (code == -ENOSPC) { /* what the kernel says for cookies that do not fit */
		error__set(error, -EOPNOTSUPP,
			   "a %s with values of %u bytes does not say which sockets it holds", name,
			   map->value_size);
		return error__hint(
			error, -EOPNOTSUPP,
			"declare its value as __u64: the kernel then gives the sockets' cookies");
	}
	if (code == -ENOTSUPP_KERNEL || code == -EOPNOTSUPP) {
		error__set(error, -EOPNOTSUPP, "the kernel gives no contents of a %s", name);
		return error__hint(error, -EOPNOTSUPP, "ask the program that filled it");
	}
	return map__explain(error, code, "cannot read the map");
}

/* Steps to the next key that was not read before. -ENOENT after the last. */
static int step(struct map_source *source)
{
	struct walk *walk = source->state;
	size_t size = source->map->key_size;
	int err = -ENOENT;

	while (walk->steps++ < walk->most) {
		err = bpf_map_get_next_key(source->map->fd, walk->started ? walk->key : NULL,
					   walk->next);
		if (err)
			break;
		memcpy(walk->key, walk->next, size);
		walk->started = true;
		err = first_time(walk, walk->key, size);
		if (err)
			return err < 0 ? err : 0;
		err = -ENOENT;
	}
	return err;
}

static int keys_next(struct map_source *source, struct batch *batch, struct error *error)
{
	uint32_t most = map_source__chunk(source);
	struct walk *walk = source->state;
	int fd = source->map->fd;

	for (uint32_t i = 0; i < most; i++) {
		int err = step(source);

		if (err == -ENOENT)
			return 0;
		if (err)
			return explain(source, err, error);
		err = bpf_map_lookup_elem(fd, walk->key, source->value);
		if (!err)
			err = map_source__append(source, walk->key, batch);
		else if (err == -ENOENT) /* an empty place, or gone by now */
			err = 0;
		if (err)
			return explain(source, err, error);
	}
	return 1;
}

static void keys_close(struct map_source *source)
{
	struct walk *walk = source->state;

	if (walk)
		free(walk->seen);
	free(source->state);
	source->state = NULL;
}

const struct map_source_ops map_source_keys = {keys_open, keys_next, keys_close};

/* ------------------------------------------------------------------------------------- queues */

static int queue_open(struct map_source *source, struct error *error)
{
	struct walk *walk = calloc(1, sizeof(*walk));

	if (!walk)
		return error__set(error, -ENOMEM, "out of memory");
	source->state = walk;
	return 0;
}

/* What arrives while it is drained is drained too, but never more than fits the map, nor more than was asked for. */
static int queue_next(struct map_source *source, struct batch *batch, struct error *error)
{
	uint64_t most = source->how.drain ? source->map->max_entries : 1;
	uint32_t chunk = map_source__chunk(source);
	struct walk *walk = source->state;
	int fd = source->map->fd, err;

	if (most > source->how.limit)
		most = source->how.limit;
	for (uint32_t i = 0; i < chunk && walk->steps < most; i++) {
		err = source->how.drain ? bpf_map_lookup_and_delete_elem(fd, NULL, source->value)
					: bpf_map_lookup_elem(fd, NULL, source->value);
		if (err == -ENOENT)
			return 0;
		if (!err)
			err = map_source__append(source, NULL, batch);
		if (err)
			return map__explain(error, err, "cannot read the map");
		walk->steps++;
	}
	return walk->steps < most;
}

const struct map_source_ops map_source_queue = {queue_open, queue_next, keys_close};
