/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-256 of files, remembered as long as the process lives: a daemon that takes objects from the cache again and again reads the
 * system's headers once. A file is the same as long as its inode, size and times are; one that has changed within the last seconds
 * is not remembered, since a clock's tick may hide another change. Safe on several threads.
 */
#ifndef PERILUNE_CACHE_DIGEST_H
#define PERILUNE_CACHE_DIGEST_H

#define CACHE_DIGEST 32 /* bytes */

/* 0 or -errno; -EINVAL for what is no regular file. */
int cache_digest__file(const char *path, unsigned char out[CACHE_DIGEST]);

#endif
