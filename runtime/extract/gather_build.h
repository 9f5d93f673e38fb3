/* SPDX-License-Identifier: Apache-2.0 */
/* The text of gather's program; for gather.c. */
#ifndef PERILUNE_GATHER_BUILD_H
#define PERILUNE_GATHER_BUILD_H

#include "extract/extract.h"
#include "extract/gather_code.h"

struct gather_context {
	uint64_t count;	 /* 0 */
	uint64_t clear;	 /* not 0: clear */
	uint64_t visits; /* 0 */
};

struct gather_plan {
	const struct extract_map *map;
	const struct layout *layout;
	const struct extract_filter *filters;
	size_t nfilters;
	int out_fd;    /* the array of records */
	uint32_t cpus; /* of a per-CPU map; 0: it is none */
	bool array;    /* otherwise a hash */
};

/*
 * The root takes a struct gather_context and returns how many records there are. *callback: the instruction at which the
 * function begins that sees each entry. -E2BIG when it gets too long.
 */
int gather__build(const struct gather_plan *plan, struct gather_code *code, size_t *callback);

/* gather_fold.c: whether instructions can fold this layout exactly as layout__fold does. */
bool gather_fold__possible(const struct layout *layout);
/* Folds all CPUs' values of the key at r6 into the record at r9. Uses r7 and the 8 bytes of stack at `scratch`. */
void gather_fold__write(struct gather_code *code, const struct gather_plan *plan, int16_t scratch);

#endif
