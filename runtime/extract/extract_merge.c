/* SPDX-License-Identifier: Apache-2.0 */
/* Records of two reads as those of one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "extract/extract_impl.h"

/* Where the records with a key are, by its hash: open addressing, at most half full. */
struct places {
	uint32_t *numbers; /* from 1; 0: nothing */
	size_t mask;
};

static uint64_t hash_of(const unsigned char *key, size_t size)
{
	uint64_t hash = 14695981039346656037ULL;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ key[i]) * 1099511628211ULL;
	return hash ^ hash >> 32;
}

static unsigned char *record_at(const struct batch *batch, size_t i)
{
	return batch->records + i * batch->layout->stride;
}

/* The place of this key: its record's number is there, or nothing. */
static uint32_t *place_of(const struct places *places, const struct batch *batch,
			  const unsigned char *key)
{
	size_t size = batch->layout->key_size, at = hash_of(key, size) & places->mask;

	while (places->numbers[at] &&
	       memcmp(record_at(batch, places->numbers[at] - 1), key, size) != 0)
		at = (at + 1) & places->mask;
	return &places->numbers[at];
}

static int make_places(struct places *places, const struct batch *batch, size_t more)
{
	size_t size = 16;

	if (batch->count + more > UINT32_MAX / 4)
		return -E2BIG;
	while (size < 2 * (batch->count + more))
		size *= 2;
	places->mask = size - 1;
	places->numbers = calloc(size, sizeof(*places->numbers));
	if (!places->numbers)
		return -ENOMEM;
	for (size_t i = 0; i < batch->count; i++)
		*place_of(places, batch, record_at(batch, i)) = (uint32_t)i + 1;
	return 0;
}

static void append(struct batch *into, const unsigned char *record)
{
	memcpy(record_at(into, into->count++), record, into->layout->stride);
}

int batch__merge(struct batch *into, const struct batch *from, enum batch_merge how, size_t most,
		 size_t *left_out)
{
	const struct layout *layout = into->layout;
	struct places places;
	int err = layout->hash == from->layout->hash ? batch__reserve(into, from->count) : -EINVAL;

	if (!err && layout->key_size)
		err = make_places(&places, into, from->count);
	if (err)
		return err;
	*left_out = 0;
	for (size_t i = 0; i < from->count; i++) {
		const unsigned char *record = record_at(from, i);
		uint32_t *place = layout->key_size ? place_of(&places, into, record) : NULL;

		if ((!place || !*place) && into->count >= most) {
			++*left_out;
		} else if (!place || !*place) {
			append(into, record);
			if (place)
				*place = (uint32_t)into->count;
		} else if (how == MERGE_NEWEST) {
			memcpy(record_at(into, *place - 1), record, layout->stride);
		} else if (how == MERGE_FOLD) {
			layout__fold_record(layout, record_at(into, *place - 1), record);
		}
	}
	if (layout->key_size)
		free(places.numbers);
	return 0;
}
