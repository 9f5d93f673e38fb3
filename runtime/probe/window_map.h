/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What window and twin share: from a map of an object to the layout of its records and to what extract wants to know.
 */
#ifndef PERILUNE_WINDOW_MAP_H
#define PERILUNE_WINDOW_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "extract/extract.h"
#include "extract/layout.h"

struct bpf_map;
struct bpf_object;

/* How the values of several CPUs become one. */
struct window_fold {
	const char *field; /* NULL: every field that can be folded so */
	enum field_fold fold;
};

/* How a map's records are to look. */
struct window_shape {
	const char *
		index; /* an enum that an array's index is shown as, and its name in a record; NULL: "index" */
	const struct window_fold *folds; /* per-CPU maps: other than as their types say */
	size_t nfolds;
	bool keep; /* per-CPU maps: no fold, a record has every CPU's values */
};

/* -ENOENT, -EINVAL: there is no such enum or field, or the fold makes no sense for it. */
int window_map__layout(struct bpf_object *object, const struct bpf_map *map,
		       const struct window_shape *shape, struct layout **out, struct error *error);

/* Bytes of the records of a windowed ring buffer, as its program declares them (bpf/half.h); 0: it does not. */
uint32_t window_map__record_size(struct bpf_object *object, const struct bpf_map *ring);

/* For extract__open: the whole map. */
void window_map__describe(const struct bpf_map *map, struct extract_map *out);

bool window_map__is_array(const struct bpf_map *map);
bool window_map__is_lru(const struct bpf_map *map);
bool window_map__is_taken(const struct bpf_map *map); /* what is read of it is no longer in it */
bool window_map__is_outer(const struct bpf_map *map); /* its values are maps */

#endif
