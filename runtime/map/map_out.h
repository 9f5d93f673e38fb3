/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a dump goes: a descriptor, through a buffer, so that what is in memory does not grow with the map.
 *
 * JSON is an array with one element a line; of a stream that has no end, one object a line. An array that is not complete (an
 * error, an interrupt) is not closed, so that it cannot be taken for a whole one.
 */
#ifndef PERILUNE_MAP_OUT_H
#define PERILUNE_MAP_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct map_out {
	int fd; /* borrowed; writes may block */
	bool json;
	bool endless; /* no array around the rows */
	struct buf buf;
	uint64_t rows; /* begun so far */
};

void map_out__init(struct map_out *out, int fd, bool json, bool endless);
void map_out__free(struct map_out *out);

/* Begins a row: what comes before it. */
int map_out__row(struct map_out *out);

/*
 * Writes many rows that were made elsewhere, with ",\n" before each in JSON (which becomes "[\n" where it is the first
 * of all), and a line end behind each otherwise.
 */
int map_out__rows(struct map_out *out, char *rows, size_t len, uint64_t count);

/* What comes after the last row of a dump that is complete, and writes all out. */
int map_out__end(struct map_out *out);

/* Writes out what has gathered, when that is enough to be worth it. -EPIPE when nobody reads any more. */
int map_out__spill(struct map_out *out);
int map_out__flush(struct map_out *out); /* in any case */

/* Waits for that long; -EPIPE when nobody reads any more. */
int map_out__wait(const struct map_out *out, int ms);

#endif
