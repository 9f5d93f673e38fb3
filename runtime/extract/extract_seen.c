/* SPDX-License-Identifier: Apache-2.0 */
#include "extract/extract_seen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_KEYS 256

void extract_seen__init(struct extract_seen *seen, size_t key_size)
{
	*seen = (struct extract_seen){.key_size = key_size};
}

void extract_seen__free(struct extract_seen *seen)
{
	free(seen->keys);
	free(seen->slots);
	extract_seen__init(seen, seen->key_size);
}

void extract_seen__clear(struct extract_seen *seen)
{
	if (seen->count)
		memset(seen->slots, 0, (seen->mask + 1) * sizeof(*seen->slots));
	seen->count = 0;
}

static uint64_t hash(const unsigned char *key, size_t size)
{
	uint64_t h = size, word;

	for (; size >= 8; key += 8, size -= 8) {
		memcpy(&word, key, 8);
		h = (h ^ word) * 0x9e3779b97f4a7c15;
		h ^= h >> 32;
	}
	word = 0;
	memcpy(&word, key, size);
	h = (h ^ word) * 0x9e3779b97f4a7c15;
	return h ^ h >> 32;
}

/* The slot of this key, or the free one where it belongs. */
static uint32_t *find(const struct extract_seen *seen, const void *key)
{
	size_t at = hash(key, seen->key_size) & seen->mask;

	while (seen->slots[at] &&
	       memcmp(extract_seen__key(seen, seen->slots[at] - 1), key, seen->key_size) != 0)
		at = (at + 1) & seen->mask;
	return &seen->slots[at];
}

/* Twice the keys; there are always at least twice as many slots as keys. */
static int grow(struct extract_seen *seen)
{
	size_t capacity = seen->capacity ? 2 * seen->capacity : FIRST_KEYS;
	uint32_t *slots = calloc(2 * capacity, sizeof(*slots));
	unsigned char *keys = reallocarray(seen->keys, capacity, seen->key_size);

	if (keys)
		seen->keys = keys;
	if (!slots || !keys || capacity > UINT32_MAX / 2) {
		free(slots);
		return -ENOMEM;
	}
	free(seen->slots);
	seen->slots = slots;
	seen->capacity = capacity;
	seen->mask = 2 * capacity - 1;
	for (size_t i = 0; i < seen->count; i++)
		*find(seen, extract_seen__key(seen, i)) = (uint32_t)i + 1;
	return 0;
}

int extract_seen__add(struct extract_seen *seen, const void *key, size_t *at)
{
	uint32_t *slot;
	int err = seen->count == seen->capacity ? grow(seen) : 0;

	if (err)
		return err;
	slot = find(seen, key);
	if (at)
		*at = *slot ? *slot - 1 : seen->count;
	if (*slot)
		return 0;
	memcpy(seen->keys + seen->count * seen->key_size, key, seen->key_size);
	*slot = (uint32_t)++seen->count;
	return 1;
}
