/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a map to a flat buffer of records.
 *
 * The caller makes sure that nothing writes to what is read (window does, by the grace period). Reads run on workers:
 * nothing here touches Lua or the loop.
 */
#ifndef PERILUNE_EXTRACT_H
#define PERILUNE_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

struct batch {
	const struct layout *layout; /* borrowed */
	unsigned char *records;	     /* count × layout->stride bytes, 8-byte aligned */
	size_t count;
	size_t capacity; /* records allocated */
};

void batch__init(struct batch *batch, const struct layout *layout);
void batch__free(struct batch *batch);
/* Sorts by the bytes of the key, so that equal contents give equal buffers. */
void batch__sort(struct batch *batch);

/* How a map is read. Equal results; the slower one is there for kernels without the other, and to be measured. */
enum extract_way {
	EXTRACT_BEST,	/* in batches where the kernel can */
	EXTRACT_SINGLE, /* one entry at a time */
};

struct extract_map {
	int fd;
	uint32_t type;	      /* BPF_MAP_TYPE_… : hash or array, per-CPU or not */
	uint32_t max_entries; /* of the map */
	uint32_t first;	      /* arrays: first index to read */
	uint32_t entries;     /* arrays: how many; hashes: unused */
	enum extract_way way;
};

/*
 * Reads all entries into `batch` (emptied first, grown as needed) and, with `clear`, removes exactly those from a hash
 * or zeroes them in an array. Per-CPU values are folded (layout__fold). In batches where the kernel can, one by one
 * where it cannot. On an error the batch holds what was read so far. An array record's key is the index relative to `first`.
 * It ends after max_entries at the latest, also when somebody keeps inserting. The batch's memory is kept from read to read.
 * -EOPNOTSUPP for another map type; -ERANGE for indexes beyond an array's end; -ENOMEM; otherwise what the kernel said.
 */
int extract__read(const struct extract_map *map, bool clear, struct batch *batch);

#endif
