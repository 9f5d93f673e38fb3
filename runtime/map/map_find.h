/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps by name, and where they are pinned.
 */
#ifndef PERILUNE_MAP_FIND_H
#define PERILUNE_MAP_FIND_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "map/map.h"

/*
 * The map of this name, which may be longer than what the kernel keeps of it. -ENOENT when there is none, -EEXIST and which there are
 * when there are several.
 */
int map__open_name(const char *name, struct map *out, struct error *error);

struct map_pin {
	uint32_t map; /* its id */
	char *path;
};

struct map_pins {
	struct map_pin *all;
	size_t count;
};

/* Goes through every BPF file system that is mounted. What may not be looked into is left out. -ENOMEM. */
int map_pins__read(struct map_pins *out);
void map_pins__free(struct map_pins *pins); /* may be called on one that is all zero */

#endif
