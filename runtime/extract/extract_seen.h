/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys that a walk has come across, in their order: where the kernel starts a walk over because its key has gone, or moves
 * an entry ahead of it, this is what keeps it from being reported twice. For extract.
 */
#ifndef PERILUNE_EXTRACT_SEEN_H
#define PERILUNE_EXTRACT_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct extract_seen {
	unsigned char *keys; /* `count` of `key_size` bytes */
	uint32_t *slots;     /* number of a key plus 1; 0: free */
	size_t key_size, count, capacity, mask;
};

void extract_seen__init(struct extract_seen *seen, size_t key_size);
void extract_seen__free(struct extract_seen *seen);
/* Forgets all keys and keeps the memory. */
void extract_seen__clear(struct extract_seen *seen);

/* 1: new, and now the last; 0: seen before, and *at its number; -ENOMEM. `at` may be NULL. */
int extract_seen__add(struct extract_seen *seen, const void *key, size_t *at);

static inline const unsigned char *extract_seen__key(const struct extract_seen *seen, size_t at)
{
	return seen->keys + at * seen->key_size;
}

#endif
