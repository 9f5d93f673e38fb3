/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside map_source: the kinds of source, each a row of operations.
 */
#ifndef PERILUNE_MAP_SOURCE_IMPL_H
#define PERILUNE_MAP_SOURCE_IMPL_H

#include "map/map_source.h"

struct map_source_ops {
	int (*open)(struct map_source *source, struct error *error);
	int (*next)(struct map_source *source, struct batch *batch, struct error *error);
	void (*close)(struct map_source *source); /* also after an open that failed */
};

struct map_source {
	const struct map_source_ops *ops;
	const struct map *map;
	const struct layout *layout;
	struct map_read how;
	const char *note;
	void *state;	      /* of the kind's own */
	unsigned char *value; /* room for one value as the kernel hands it out, all CPUs' */
	size_t slot, cpus;    /* bytes from one CPU's value to the next, and how many */
};

extern const struct map_source_ops map_source_extract, map_source_keys, map_source_queue,
	map_source_tasks, map_source_cgroups, map_source_sockets;

/* About as many records as one call of `next` is to give. */
uint32_t map_source__chunk(const struct map_source *source);

/*
 * Appends a record: a key of layout->key_size bytes and source->value, of which per-CPU ones are kept apart or folded as the layout
 * says. -ENOMEM.
 */
int map_source__append(struct map_source *source, const void *key, struct batch *batch);

#endif
