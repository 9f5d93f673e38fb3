/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a BTF type is to a record: its kind, its size, how many. The part of layout that knows typedefs.
 */
#ifndef PERILUNE_LAYOUT_TYPE_H
#define PERILUNE_LAYOUT_TYPE_H

#include "layout.h"

#define LAYOUT_MAX_PART (64U << 20) /* bytes of a key or a value */

#define KIND_STRUCT ((enum field_kind)(-1)) /* to be flattened; never in a finished table */

struct element {
	enum field_kind kind;
	uint32_t size, count, type; /* bytes of one, how many, the BTF type of one */
};

/* False for a type that has no size, so that nothing can be said about what lies there. */
bool layout_type__classify(const struct btf *btf, uint32_t id, struct element *out);

/* A name, or "" for a type or member that has none. */
const char *layout_type__name(const struct btf *btf, uint32_t offset);

#endif
