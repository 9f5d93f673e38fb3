/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside map_dump: tables (entries, inner maps) and streams (ring buffers, perf events).
 */
#ifndef PERILUNE_MAP_DUMP_IMPL_H
#define PERILUNE_MAP_DUMP_IMPL_H

#include "map/map_btf.h"
#include "map/map_dump.h"
#include "map/map_out.h"

struct map_dump {
	struct map map;
	struct map_dump_options options;
	struct map_types types;
	struct layout *layout; /* NULL: a stream */
	struct map_out out;
	uint64_t rows;
	bool stopped; /* atomically */
	char note[256];
};

static inline bool map_dump__stopped(struct map_dump *dump)
{
	return __atomic_load_n(&dump->stopped, __ATOMIC_RELAXED);
}

/* The layout of a map's records as the options want them. */
int map_dump__layout(const struct map *map, const struct map_types *types,
		     const struct map_dump_options *options, struct layout **out,
		     struct error *error);

int map_dump__table(struct map_dump *dump, struct error *error);
int map_dump__ring(struct map_dump *dump, struct error *error);
int map_dump__events(struct map_dump *dump, struct error *error);

/* Appends a record of this layout, without a line end. */
int map_dump__put(const struct map_dump *dump, struct buf *out, const struct layout *layout,
		  const unsigned char *record);

/* The same as map_dump__table by several threads: 1; 0 for a map for which that does not pay; -errno. */
int map_dump__parts(struct map_dump *dump, struct error *error);

/* An error of writing: -EPIPE and others. */
int map_dump__unwritten(int err, struct error *error);

#endif
