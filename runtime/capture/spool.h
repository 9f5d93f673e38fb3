/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that is written behind: bytes are handed over, and a thread of the spool's own puts them into the file, some ten kB at a time.
 * So a disk that takes its time holds nobody up who has packets to count. What waits has a bound.
 *
 * One thread owns a spool and calls all of these. The descriptor is the writing thread's once it runs.
 */
#ifndef PERILUNE_SPOOL_H
#define PERILUNE_SPOOL_H

#include <stdbool.h>
#include <stddef.h>

struct spool;

/* Takes over the descriptor, which is closed with it, and on failure too. `most`: bytes that may wait. */
int spool__open(int fd, size_t most, struct spool **out);

/* Whether so many bytes may be handed over now; with `patient`, waits until they may. They may until more have been. */
bool spool__has_room(struct spool *spool, size_t len, bool patient);

/* Hands over bytes for which there is room. -errno when some before them could not be written. */
int spool__write(struct spool *spool, const void *bytes, size_t len);

/* All has been handed over; what waits is written and the file closed, and nobody waits for that. Nothing is written any more. */
void spool__end(struct spool *spool);

/* After spool__end(): whether the file is closed, so that spool__close() waits for nothing. */
bool spool__has_ended(struct spool *spool);

/* Ends it, waits until the file is closed, and frees. NULL-safe. -errno when something could not be written. */
int spool__close(struct spool *spool);

#endif
