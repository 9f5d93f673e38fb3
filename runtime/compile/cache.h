/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The content-addressed cache of compiled objects.
 *
 * A file is named by a SHA-256 of what was asked (source, arguments, compiler). It holds the names
 * and SHA-256 of the headers that the compiler read, the object, and a SHA-256 over all of it, so a
 * torn or foreign file is a miss, never an answer. Files appear by rename, so two writers are safe;
 * the oldest go when the directory is over its bound. Only files of this user that nobody else can
 * write are answers.
 */
#ifndef PERILUNE_CACHE_H
#define PERILUNE_CACHE_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define CACHE_KEY_LEN 64	     /* hex digits */
#define CACHE_MAX_BYTES (64UL << 20) /* of all files together */

/*
 * 0 with the object appended to `out`; -ENOENT when there is none, it is damaged, or a header has
 * changed.
 */
int cache__get(const char *dir, const char *key, struct buf *out);

/*
 * Stores it; `headers` are paths, NULL-terminated. Creates the directory (0700). Errors cost
 * nothing but the caching.
 */
int cache__put(const char *dir, const char *key, const char *const *headers, const void *object,
	       size_t len);

/*
 * Removes the least recently used files until all together hold at most `max_bytes`, and abandoned
 * temporary ones.
 */
int cache__trim(const char *dir, uint64_t max_bytes);

#endif
