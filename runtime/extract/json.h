/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as JSON, straight from layout and buffer.
 *
 * Structs are objects, arrays are arrays. Integers of any size are written exactly. Addresses are text, times RFC 3339 in UTC with
 * nanoseconds, text is escaped and invalid UTF-8 replaced, bytes are hex with colons, pointers hex with 0x, floats have the
 * fewest digits that read back the same (null when they are no number), known values of enums, protocols and interfaces are
 * their names.
 */
#ifndef PERILUNE_JSON_H
#define PERILUNE_JSON_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "extract/extract.h"

enum json_form {
	JSON_ROW, /* {"src":…,"packets":…}: the fields of key and value side by side */
	JSON_PAIR, /* {"key":…,"value":…}; per-CPU values kept apart: "values":[…]; no "key" when the map has none */
	JSON_ENTRY, /* the same, with per-CPU values kept apart as "value":[…] */
	JSON_VALUE, /* the value alone */
};

/* Appends one record as an object. On an error (-EMSGSIZE, -ENOMEM) `out` is unchanged. */
int json__record(struct buf *out, const struct layout *layout, enum json_form form,
		 const unsigned char *record);

/* Appends `[{…},…]` of the records whose indexes are given, or of all, in buffer order, when `indexes` is NULL. */
int json__records(struct buf *out, const struct batch *batch, enum json_form form,
		  const uint32_t *indexes, size_t count);

/* Appends a JSON string with its quotes. */
int json__string(struct buf *out, const char *text, size_t len);

/* For layout__free. NULL-safe. */
void json_plan__free(struct json_plan *plan);

#endif
