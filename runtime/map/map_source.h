/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the records of a map come from, in one way for every type that has entries: by extract, key by key, from a queue, from the
 * tasks, cgroups and sockets that have a value.
 *
 * A source is read on one thread. What it reads is bounded: by max_entries, or by how many owners there are.
 */
#ifndef PERILUNE_MAP_SOURCE_H
#define PERILUNE_MAP_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "extract/extract.h"
#include "extract/layout.h"
#include "map/map.h"

struct map_source;

struct map_read {
	bool drain;	/* queues and stacks: take what is there, instead of showing the first */
	uint64_t limit; /* read no more than this; UINT64_MAX: all */
};

/* `map` and `layout` (map_types__layout) are borrowed. -EOPNOTSUPP and why for a type that has no entries to read. */
int map_source__open(const struct map *map, const struct layout *layout, const struct map_read *how,
		     struct map_source **out, struct error *error);

/*
 * The next records into `batch` (emptied first). Returns 1 while there may be more, 0 after the last (the batch may hold records
 * then too), -errno with `error`.
 */
int map_source__next(struct map_source *source, struct batch *batch, struct error *error);

void map_source__free(struct map_source *source); /* NULL-safe */

/* Something to be said of how complete it is ("threads other than …"), or NULL. Static text. */
const char *map_source__note(const struct map_source *source);

#endif
