/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables to measure the project's own work on: perilune bench.
 *
 * A table is a real map with BTF: keys of 16 bytes (addresses, ports, protocol) or an index, values of six counters in 48 bytes, all
 * pseudo-random and the same in every run.
 */
#ifndef PERILUNE_BENCH_H
#define PERILUNE_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "extract/extract.h"

enum bench_kind {
	BENCH_HASH,
	BENCH_ARRAY, /* in shared memory */
};

struct bench_table;

/* With `entries` places, empty. */
int bench_table__new(enum bench_kind kind, uint32_t entries, struct bench_table **out,
		     struct error *error);
void bench_table__free(struct bench_table *table); /* NULL-safe */
/* Puts all entries in, those that are there too. */
int bench_table__fill(struct bench_table *table);
const struct layout *bench_table__layout(const struct bench_table *table);

/* The map's id, by which others find it. 0 when the kernel does not say. */
uint32_t bench_table__id(const struct bench_table *table);

struct bench_work {
	enum extract_way way;
	bool clear;
	bool json;     /* write each record as JSON, into a buffer that is thrown away */
	uint64_t most; /* end the read soon after that many entries; 0: read all */
};

struct bench_result {
	uint64_t ns;
	uint64_t entries;
};

/* Does it once. The memory of an earlier call is used again. */
int bench_table__read(struct bench_table *table, const struct bench_work *work,
		      struct bench_result *result, struct error *error);
/* Reads all into `batch` instead, which is the caller's. */
int bench_table__take(struct bench_table *table, enum extract_way way, struct batch *batch,
		      struct bench_result *result, struct error *error);

#endif
