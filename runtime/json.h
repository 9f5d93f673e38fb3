/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as JSON, straight from layout and buffer.
 *
 * A record is an object with its fields in layout order; 64-bit integers are written exactly. Addresses are text, times
 * RFC 3339 in UTC with nanoseconds, text is escaped and invalid UTF-8 replaced, bytes are hex with colons, arrays are arrays,
 * known enum values are their names.
 */
#ifndef PERILUNE_JSON_H
#define PERILUNE_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "extract.h"

/* Appends one record (batch->records + index × stride) as an object. */
int json__record(struct buf *out, const struct layout *layout, const unsigned char *record);

/* Appends `[{…},…]` of the records whose indexes are given, or of all, in buffer order, when `indexes` is NULL. */
int json__records(struct buf *out, const struct batch *batch, const uint32_t *indexes,
		  size_t count);

/* Appends a JSON string with its quotes. */
int json__string(struct buf *out, const char *text, size_t len);

#endif
