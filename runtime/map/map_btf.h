/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a map's keys and values are: its own BTF; or, where the kernel drops it (queues, ring buffers, maps of maps …), the
 * definition of the map in the BTF of a program that uses it; or types made here for what the kernel itself hands out (ids,
 * addresses of a stack, owners of a storage).
 */
#ifndef PERILUNE_MAP_BTF_H
#define PERILUNE_MAP_BTF_H

#include <stdint.h>

#include "base/error.h"
#include "extract/layout.h"
#include "map/map.h"

struct btf;

#define MAP_BTFS 3

struct map_types {
	struct btf *btf;	     /* NULL: nothing is known, it is all bytes */
	struct btf *owned[MAP_BTFS]; /* it and those it builds upon, the last first to be freed */
	uint32_t key, value;	     /* ids in `btf`; 0: not known */
	uint32_t key_size,
		value_size; /* bytes in a record: of a storage, those of its owner's description */
	uint32_t inner_key, inner_value; /* maps of maps: as declared for the inner ones */
	uint32_t program;		 /* id of the program whose BTF it is, 0: of no program */
};

/*
 * `outer`: the types of the map that this one was found in, or NULL. What cannot be found is left unknown and is no error, also
 * when looking for it was not permitted. -ENOMEM.
 */
int map_types__find(const struct map *map, const struct map_types *outer, struct map_types *out,
		    struct error *error);
void map_types__free(struct map_types *types); /* may be called on one that is all zero */

/* Takes a BTF over and makes it the one that is used. For those that find or make one. */
void map_types__own(struct map_types *types, struct btf *btf);

/* Adds to what was found what the kernel hands out for this type of map. For map_types__find. */
int map_types__complete(const struct map *map, struct map_types *types);

/*
 * The layout of the map's records; `cpus` as in struct layout_spec. Types that do not fit the map's sizes are ignored: what they
 * describe is bytes then.
 */
int map_types__layout(const struct map *map, const struct map_types *types, uint32_t cpus,
		      struct layout **out, struct error *error);

#endif
