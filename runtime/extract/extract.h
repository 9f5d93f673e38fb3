/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a map to a flat buffer of records, in the best way that this map and this kernel allow.
 *
 *	mapped   an array in shared memory: no system call
 *	gather   a program in the kernel walks the map and writes records into shared memory, values folded, rows filtered; it
 *	         holds its CPU, so only for maps of at most EXTRACT_GATHER_MAX entries
 *	batch    lookup (and delete) in batches; the buffer grows when the kernel says that a bucket does not fit
 *	single   one entry at a time
 *	pop      queues and stacks: takes what it reads (without `clear`, BEST and SINGLE show the head only)
 *	ring     a ring buffer that nobody writes during the pass: takes its records from shared memory, no system call for each
 *
 * A read is a snapshot only when nothing writes meanwhile (window makes sure of it, by the grace period). On a map in use it is
 * still bounded, never reports an entry twice and, but for a gathered hash, leaves none out that is there throughout. What is
 * removed is what the read has seen, save what a program adds to an entry in between. Reads run on workers: nothing here touches Lua or the loop.
 */
#ifndef PERILUNE_EXTRACT_H
#define PERILUNE_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "extract/layout.h"

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
/* Of a key that two batches have, the value: folded as the layout says for CPUs, the one that comes, or the one that is there. */
enum batch_merge { MERGE_FOLD, MERGE_NEWEST, MERGE_ABSENT };

/*
 * Puts the records of `from`, of a layout with the same hash, into `into`; records without a key follow. There will be no more than
 * `most` (and those that were there): *left_out had no room. -EINVAL: other layouts; -ENOMEM: nothing is changed.
 */
int batch__merge(struct batch *into, const struct batch *from, enum batch_merge how, size_t most,
		 size_t *left_out);

#define EXTRACT_GATHER_MAX 16384

enum extract_way {
	EXTRACT_BEST,
	EXTRACT_MAPPED,
	EXTRACT_GATHER,
	EXTRACT_BATCH,
	EXTRACT_SINGLE,
	EXTRACT_POP,
	EXTRACT_RING,
};

const char *extract_way__name(enum extract_way way); /* "mapped", … */

struct extract_map {
	int fd;
	uint32_t type;	/* BPF_MAP_TYPE_… */
	uint32_t flags; /* map_flags */
	uint32_t max_entries;
	uint32_t
		first; /* arrays: first index to read; a record's key is the index relative to it */
	uint32_t entries; /* arrays: how many; others: unused */
};

/* One condition on a record: `field` (an integer of at most 8 bytes, not a bitfield or an array) compared with `value`. */
enum filter_op { FILTER_EQ, FILTER_NE, FILTER_LT, FILTER_LE, FILTER_GT, FILTER_GE };

struct extract_filter {
	const struct field *field;
	enum filter_op op;
	uint64_t value; /* as layout__number gives it; compared signed when the field is */
};

#define EXTRACT_FILTERS 16

struct extract_options {
	enum extract_way way; /* BEST, or exactly that one: -EOPNOTSUPP when it does not go */
	const struct extract_filter *filters; /* all must hold; copied */
	size_t nfilters;
	bool quiet; /* nobody else writes the map during a pass: BEST may gather a hash, whose walk could go astray otherwise */
};

struct extract;

/*
 * Prepares to read `map` as records of `layout` (borrowed; layout->cpus > 1: per-CPU values side by side, otherwise they are
 * folded). `options` may be NULL. The descriptor may be closed afterwards. -EOPNOTSUPP for a map that has no entries to read this way;
 * -ERANGE for indexes beyond an array's end.
 */
int extract__open(const struct extract_map *map, const struct layout *layout,
		  const struct extract_options *options, struct extract **out, struct error *error);
void extract__free(struct extract *extract);		      /* NULL-safe */
enum extract_way extract__way(const struct extract *extract); /* what was chosen */

/*
 * Starts a pass over the map. `clear`: entries that are read (filtered out or not) are removed, array elements zeroed; pop
 * and ring always take.
 */
int extract__start(struct extract *extract, bool clear);
/*
 * Puts the next records, some thousand at most, into `batch` (emptied first). Returns 1 while there may be more, 0 after the last
 * (the batch may hold records then too), -errno. A pass ends after twice max_entries at the latest, also when somebody keeps
 * inserting. -EAGAIN when a walk from key to key (LPM tries, or by way of single) was led astray for too long by others'
 * deleting.
 */
int extract__next(struct extract *extract, struct batch *batch);

/*
 * Into how many parts, at most `most`, the reading of this map can be divided so that it pays: 1 for other maps than large hashes.
 * What extract__start said counts no more.
 */
uint32_t extract__parts(struct extract *extract, uint32_t most);
/*
 * After extract__start, without `clear`: reads only this part (0 …) of so many. A reader reads one part after the other, and others of
 * the same map read others, on any threads. Together they are as good as one pass.
 */
void extract__set_part(struct extract *extract, uint32_t part, uint32_t parts);

/* A whole pass into `batch`. On an error it holds what was read so far; its memory is kept from read to read. */
int extract__read(struct extract *extract, bool clear, struct batch *batch);

#endif
