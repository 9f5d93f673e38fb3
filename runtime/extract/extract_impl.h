/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of extract share: one reader, and one table of operations for each way.
 */
#ifndef PERILUNE_EXTRACT_IMPL_H
#define PERILUNE_EXTRACT_IMPL_H

#include "extract/extract.h"
#include "extract/extract_seen.h"
#include "extract/gather.h"

#define EXTRACT_CHUNK 4096	    /* entries asked for at once */
#define EXTRACT_SCRATCH (4UL << 20) /* unless they would need more memory than this */
#define ENOTSUPP_KERNEL 524 /* the kernel's own "not supported", which has no name in user space */

struct extract_ops {
	enum extract_way way;
	/* Makes ready for passes. -EOPNOTSUPP: this map or this kernel has no such way. May be NULL. */
	int (*open)(struct extract *e, struct error *error);
	int (*start)(struct extract *e);
	/* Appends at most a chunk of records. 1: there may be more; 0: that was all; -errno. */
	int (*next)(struct extract *e, struct batch *batch);
};

extern const struct extract_ops extract_mapped, extract_gather, extract_batch_hash,
	extract_batch_array, extract_batch_keys, extract_single_keys, extract_single_array,
	extract_queue, extract_pop, extract_ring;

struct extract {
	struct extract_map
		map; /* with a descriptor of our own: nobody can put another map in its place */
	const struct layout *layout;
	const struct extract_ops *ops;
	struct extract_filter filters[EXTRACT_FILTERS];
	size_t nfilters;

	size_t key_size; /* bytes of the map's keys */
	size_t slot;	 /* bytes of one CPU's value as the kernel hands it out */
	size_t stored;	 /* bytes of a whole value: slot × CPUs */
	size_t cpus;	 /* 1 unless per-CPU */
	bool per_cpu, array, quiet;
	uint64_t
		most; /* entries after which a pass ends: more than there can be, unless others write */

	/* the pass */
	bool clear, started, ended;
	uint64_t done;	/* entries read, filtered out or not */
	uint64_t spent; /* steps of a walk by keys, which others' writing can lead astray */
	bool pending;	/* the last key is still to be removed */
	uint32_t step;	/* most entries of one extract__next, as a rule */
	bool parted;	/* only a part of a hash: */
	uint32_t place_first, place,
		place_end; /* its first bucket, the one to be read next, the one to end before */

	/* scratch */
	unsigned char *keys, *values; /* `chunk` of each */
	uint32_t chunk;
	unsigned char *token; /* the kernel's place in the map */
	struct extract_seen seen;

	struct ring_buffer *ring;
	struct batch *into; /* where its records go, during extract__next */

	unsigned char *mapped; /* the array */
	size_t mapped_size;
	bool writable;
	struct gather *gather;
	const unsigned char *gathered; /* records of the last run */
	size_t gathered_count;
};

/* Room for `count` more records. */
int batch__reserve(struct batch *batch, size_t count);

/* Appends one entry as a record, unless a filter is against it. There is room. */
void extract__append(struct extract *e, struct batch *batch, const void *key, const void *values);
/* The same of an element of an array. */
void extract__append_element(struct extract *e, struct batch *batch, uint32_t index,
			     const void *values);

/* Room for `count` entries in the scratch buffers. */
int extract__set_chunk(struct extract *e, uint64_t count);

/* Makes ready for batches. -EOPNOTSUPP where the kernel has none for this map. */
int extract__open_batches(struct extract *e, struct error *error);

/* The next records of a part of a hash. */
int extract__next_of_part(struct extract *e, struct batch *batch);

/* Errors of a first batch call that mean: this kernel has no batches for this map. */
bool extract__no_batches(int err);

/* Zeroes array elements `first` … of the map itself. Uses the scratch buffers. */
int extract__zero(struct extract *e, uint32_t first, uint32_t count);

#endif
