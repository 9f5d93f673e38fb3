/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a perf event array, from when one begins to listen. Its places hold one reader each, so whoever read it before gets
 * nothing until he opens it again.
 */
#ifndef PERILUNE_MAP_EVENTS_H
#define PERILUNE_MAP_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "map/map.h"

struct map_events;

/* Returns false when no more are wanted from now on. */
typedef bool (*map_events_fn)(void *arg, int cpu, const void *bytes, uint32_t len);

int map_events__open(const struct map *map, map_events_fn fn, void *arg, struct map_events **out,
		     struct error *error);
void map_events__free(struct map_events *events); /* NULL-safe */

/* Waits for some, no longer than `ms`, and calls fn for each. Returns 0, also when there was none, or -errno. */
int map_events__poll(struct map_events *events, int ms);

uint64_t map_events__lost(
	const struct map_events *events); /* records for which there was no room */

#endif
