/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a ring buffer, seen through a read-only mapping, so that whoever reads it for good loses nothing; or taken.
 *
 * The other side goes on meanwhile. A record is copied out and then checked not to have been overwritten; what was, counts as
 * missed, in bytes, since how many records it was can no longer be told.
 */
#ifndef PERILUNE_MAP_RING_H
#define PERILUNE_MAP_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "map/map.h"

struct map_ring;

/* `take`: what was read is gone from the ring; -EOPNOTSUPP for a user ring buffer, whose reader is a program. */
int map_ring__open(const struct map *map, bool take, struct map_ring **out, struct error *error);
void map_ring__free(struct map_ring *ring); /* NULL-safe */

/* From now on, reading ends at what is there now; otherwise it goes on with what is added. */
void map_ring__bound(struct map_ring *ring);

/*
 * The next record that is whole: 1 with *bytes (valid until the next call) and *len; 0 when there is none now; -errno. A record
 * that a program is still writing is left out when the reading is bounded, and waited for otherwise.
 */
int map_ring__next(struct map_ring *ring, const unsigned char **bytes, size_t *len);

/* Taking: tells the ring that what was handed out so far is gone. */
void map_ring__release(struct map_ring *ring);

uint64_t map_ring__missed(const struct map_ring *ring);	    /* bytes, with headers */
uint64_t map_ring__unfinished(const struct map_ring *ring); /* records left out as not yet whole */

#endif
