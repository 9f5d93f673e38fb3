/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map's contents, written out as they are read: JSON, or lines for people.
 *
 * Without `drain` nothing of the map is changed (a perf event array excepted, see map_events.h). Memory does not grow with the map,
 * only with its largest record.
 */
#ifndef PERILUNE_MAP_DUMP_H
#define PERILUNE_MAP_DUMP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "extract/layout.h"
#include "map/map.h"

struct map_dump;

struct map_dump_options {
	bool json;
	bool drain;  /* queues, stacks, ring buffers: take what is there */
	bool follow; /* ring buffers, perf event arrays: go on with what comes */
	bool folded; /* per-CPU values become one, by `fold` where a field can be folded so */
	enum field_fold fold;
	uint64_t limit; /* no more rows than this; UINT64_MAX: all */
	int fd;		/* where it is written; borrowed */
};

/*
 * Finds out what the map is made of and whether what is wanted can be done. Takes `map` over, also when it fails. -EOPNOTSUPP and why for
 * a map that cannot be read; -EINVAL for options that make no sense for this map.
 */
int map_dump__new(struct map *map, const struct map_dump_options *options, struct map_dump **out,
		  struct error *error);
void map_dump__free(struct map_dump *dump); /* NULL-safe */

/*
 * Reads and writes it all; once. Blocks: for a worker. -EPIPE when nobody reads the output any more, -ECANCELED after a stop (following
 * ends with 0 then).
 */
int map_dump__run(struct map_dump *dump, struct error *error);

/* Ends the run soon. For any thread. */
void map_dump__stop(struct map_dump *dump);

uint64_t map_dump__rows(
	const struct map_dump
		*dump); /* how many were written; of the outer map, if there are inner ones */

/* Something to be said of how complete it is, or what was changed; "" when there is nothing. For after the run. */
const char *map_dump__note(const struct map_dump *dump);

#endif
