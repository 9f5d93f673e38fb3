/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the records of a layout become JSON: constant text, fields, and loops over arrays of structs, worked out once.
 */
#ifndef PERILUNE_JSON_PLAN_H
#define PERILUNE_JSON_PLAN_H

#include "extract/json.h"

#define JSON_BLOCK                                                                                 \
	16 /* constant text is copied in blocks: so many bytes more may be read and written */

enum json_step_kind {
	JSON_STEP_TEXT,
	JSON_STEP_FIELD,
	JSON_STEP_COUNTER, /* a field that is a single u64: most of those that are counted */
	JSON_STEP_LOOP,
};

struct json_step {
	enum json_step_kind kind;
	size_t at, len;		   /* text */
	const struct field *field; /* field: from dimension `dim` on */
	uint32_t dim;
	uint32_t count, stride; /* loop: the steps up to `end`, with commas between */
	size_t end;
};

struct json_plan {
	struct json_step *steps;
	size_t count;
	char *text;
	size_t most; /* bytes of a record at most, with a block more */
};

/* The layout's plan of this form, made when it is not there yet. It belongs to the layout. Safe on several threads. */
int json_plan__get(const struct layout *layout, enum json_form form, const struct json_plan **out);

#endif
