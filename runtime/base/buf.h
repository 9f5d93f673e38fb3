/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable byte buffer that knows its ceiling.
 *
 * Everything that grows with what comes from outside (a compiler's output, rows, a capture) goes through here, so
 * nothing grows without bound. `data` is always NUL-terminated behind `len`, and NULL only while nothing was appended.
 */
#ifndef PERILUNE_BUF_H
#define PERILUNE_BUF_H

#include <stddef.h>

struct buf {
	char *data;
	size_t len;	/* bytes in use, without the NUL */
	size_t cap;	/* bytes allocated */
	size_t ceiling; /* most bytes `len` may reach */
};

/* An empty buffer; allocates nothing. */
void buf__init(struct buf *buf, size_t ceiling);

/* Appends `len` bytes. -EMSGSIZE beyond the ceiling, -ENOMEM; the buffer is unchanged then. */
int buf__append(struct buf *buf, const void *bytes, size_t len);

/* Makes room for `len` more bytes, so that the caller can write them at data + len itself. */
int buf__reserve(struct buf *buf, size_t len);

int buf__puts(struct buf *buf, const char *text);
int buf__printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Empties it and keeps the allocation. */
void buf__clear(struct buf *buf);

/* Releases the memory; the buffer may be used again. NULL-safe. */
void buf__free(struct buf *buf);

#endif
