/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a BTF type is to a record: its kind, its size, its dimensions. The part of layout that knows typedefs, tags and the names of
 * enums.
 */
#ifndef PERILUNE_LAYOUT_TYPE_H
#define PERILUNE_LAYOUT_TYPE_H

#include "extract/layout.h"

#define LAYOUT_MAX_PART (64U << 20) /* bytes of a key or a value */

#define KIND_STRUCT ((enum field_kind)(-1)) /* to be flattened; never in a finished table */

struct element {
	enum field_kind kind;
	bool is_signed;
	uint32_t bits; /* of an integer that does not fill its bytes, 0 otherwise */
	uint32_t size; /* bytes of one element */
	uint32_t type; /* BTF type of one, without typedefs */
	uint32_t ndims;
	struct field_dim dims[LAYOUT_DIMS]; /* `level` is the caller's */
};

/* False for a type that has no size, so that nothing can be said about what lies there. */
bool layout_type__classify(const struct btf *btf, uint32_t id, struct element *out);

/*
 * A declaration tag "show_as:MEANING" of member number `member` of a struct or union (bpf/types.h lists the meanings). Changes the
 * element where the meaning fits its size.
 */
void layout_type__apply_tag(const struct btf *btf, uint32_t type, uint32_t member,
			    struct element *element);

/* A name, or "" for a type or member that has none. */
const char *layout_type__name(const struct btf *btf, uint32_t offset);

/* The names of an enum's values, by value. */
struct layout_names {
	struct layout_names *next;
	uint32_t type;
	size_t count;
	struct layout_name {
		int64_t value;
		const char *name; /* in the same allocation */
		size_t len;
	} all[];
};

/* Those of the enum `type`, from the list at `head` or added to it. NULL: out of memory. Freed with free(), one by one. */
const struct layout_names *layout_type__names(const struct btf *btf, uint32_t type,
					      struct layout_names **head);

#endif
