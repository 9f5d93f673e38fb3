/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash in parts, for several threads at once: what batches cost is waiting for memory, bucket by bucket, under each bucket's lock.
 *
 * The kernel's place in a hash is the number of the bucket that comes next, so a reading can begin at any bucket. A batch ends where the
 * buffer does, which may be beyond the part's end; so, close to it, smaller ones are asked for, and at last single buckets.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/bpf.h>

#include "extract/extract_impl.h"

#define WORTH 8192 /* entries below which a part is not worth its beginning and end */
#define SAMPLE 256 /* entries to judge by */
#define FEWEST 16  /* asked for close to a part's end */
#define MARK 0xa5

static uint64_t buckets(uint32_t max_entries)
{
	uint64_t n = 1;

	while (n < max_entries)
		n *= 2;
	return n;
}

static int lookup(struct extract *e, uint32_t at, uint32_t *out, uint32_t *count)
{
	return bpf_map_lookup_batch(e->map.fd, at ? &at : NULL, out, e->keys, e->values, count,
				    NULL);
}

/* Whether the kernel's place is what we take it for, and how full the beginning is, as a guess at the rest. */
uint32_t extract__parts(struct extract *e, uint32_t most)
{
	uint32_t place[2], count = e->chunk < SAMPLE ? e->chunk : SAMPLE;
	uint64_t all, entries;

	if (e->ops != &extract_batch_hash || e->map.type == BPF_MAP_TYPE_HASH_OF_MAPS)
		return 1;
	memset(place, MARK, sizeof(place));
	all = buckets(e->map.max_entries);
	if (lookup(e, 0, place, &count) || !count || count > e->chunk || !place[0] ||
	    place[0] >= all || place[1] != MARK * 0x01010101U)
		return 1;
	entries = count * (all / place[0]);
	most = entries / WORTH < most ? (uint32_t)(entries / WORTH) : most;
	return most ? most : 1;
}

void extract__set_part(struct extract *e, uint32_t part, uint32_t parts)
{
	uint64_t all = buckets(e->map.max_entries);

	e->parted = parts > 1;
	e->place = e->place_first = (uint32_t)(all * part / parts);
	e->place_end = part + 1 == parts ? UINT32_MAX : (uint32_t)(all * (part + 1) / parts);
}

/* Whether the scratch buffer and this copy of it hold a key in common. */
static bool share_key(const struct extract *e, uint32_t count, const unsigned char *keys,
		      uint32_t n)
{
	for (uint32_t i = 0; i < count; i++)
		for (uint32_t j = 0; j < n; j++)
			if (!memcmp(e->keys + i * e->key_size, keys + j * e->key_size, e->key_size))
				return true;
	return false;
}

/*
 * The last bucket of the part was emptied by somebody just before it was read, and what came instead is the next part's: looks
 * whether the first bucket of that holds the same. The buffers are the records' by now.
 */
static bool is_next_parts(struct extract *e, const unsigned char *keys, uint32_t count)
{
	uint32_t place = 0, n = e->chunk;
	int err = lookup(e, e->place_end, &place, &n);

	return (!err || err == -ENOENT) && n <= e->chunk && share_key(e, n, keys, count);
}

static int append(struct extract *e, struct batch *batch, uint32_t count)
{
	int err = batch__reserve(batch, count);

	for (uint32_t i = 0; !err && i < count; i++)
		extract__append(e, batch, e->keys + i * e->key_size, e->values + i * e->stored);
	return err;
}

/* A single bucket, behind which there is nothing more in this part. */
static int append_last(struct extract *e, struct batch *batch, uint32_t count)
{
	size_t before = batch->count, len = count * e->key_size;
	unsigned char *keys = malloc(len);
	int err = keys ? append(e, batch, count) : -ENOMEM;

	if (!err) {
		memcpy(keys, e->keys, len);
		if (is_next_parts(e, keys, count))
			batch->count = before;
	}
	free(keys);
	return err;
}

/* How many entries to ask for, so that it ends before the part does, going by how full its buckets were so far. */
static uint32_t measured(const struct extract *e)
{
	uint64_t left;

	if (e->place_end == UINT32_MAX || !e->done)
		return e->chunk;
	left = e->done * (e->place_end - e->place) / (e->place - e->place_first);
	left -= left / 8;
	return left > e->chunk ? e->chunk : left < FEWEST ? FEWEST : (uint32_t)left;
}

/* One batch into the scratch buffers, which grow until the next bucket fits. *next: UINT32_MAX after the last bucket. */
static int read_batch(struct extract *e, uint32_t *next, uint32_t *count)
{
	uint32_t want = measured(e);
	int said, err = 0;

	for (;;) {
		if (want > e->chunk)
			err = e->chunk > e->most + EXTRACT_CHUNK ? -ENOSPC
								 : extract__set_chunk(e, want);
		if (err)
			return err;
		*count = want;
		said = lookup(e, e->place, next, count);
		if (said != -ENOSPC)
			break;
		want = want > UINT32_MAX / 2 ? UINT32_MAX : 2 * want;
	}
	if (said == -ENOENT)
		*next = UINT32_MAX;
	*count = *count > e->chunk ? e->chunk : *count;
	return said == -ENOENT ? 0 : said;
}

/*
 * After a batch of *count entries that went beyond the part: the most that does not, or else its first bucket alone, which is what fits
 * in so many entries that one less is too few. -EAGAIN when somebody made that bucket larger meanwhile.
 */
static int narrow(struct extract *e, uint32_t *next, uint32_t *count)
{
	uint32_t small = 0, large = *count;

	for (;;) {
		bool last = small + 1 >= large;
		uint32_t tried = last ? large : small + (large - small) / 2;
		int said;

		*count = tried;
		said = lookup(e, e->place, next, count);
		if (said == -ENOSPC) {
			if (last)
				return -EAGAIN;
			small = tried;
			continue;
		}
		if (said == -ENOENT)
			*next = UINT32_MAX;
		else if (said)
			return said;
		if (last || *next <= e->place_end || !*count)
			return 0;
		large = *count < tried ? *count : tried;
	}
}

int extract__next_of_part(struct extract *e, struct batch *batch)
{
	uint32_t next = 0, count = 0;
	bool beyond;
	int err;

	if (e->place >= e->place_end)
		return 0;
	err = read_batch(e, &next, &count);
	beyond = next > e->place_end && count;
	if (!err && beyond) {
		err = narrow(e, &next, &count);
		if (err == -EAGAIN) /* once more, unless that goes on for ever */
			return e->spent++ < EXTRACT_CHUNK ? 1 : err;
		beyond = next > e->place_end && count;
	}
	if (err)
		return err;
	e->place = next;
	err = beyond ? append_last(e, batch, count) : append(e, batch, count);
	e->done += count;
	return err ? err : next < e->place_end && e->done < e->most;
}
