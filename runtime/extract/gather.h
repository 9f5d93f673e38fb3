/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel gathers a map's entries into a flat buffer that both sides see.
 *
 * A BPF program, written for this map and this layout when it is opened, walks the map (bpf_for_each_map_elem) and copies each
 * entry into the next element of a memory-mapped array, whose elements are records: so that memory is the flat buffer. One
 * system call reads the whole map. It folds per-CPU values and drops what the filters do not want on the way, and removes what it
 * has read when asked. While it runs it holds its CPU: some 100 to 200 ns an entry.
 */
#ifndef PERILUNE_GATHER_H
#define PERILUNE_GATHER_H

#include <stdbool.h>
#include <stddef.h>

#include "extract/extract.h"

#define GATHER_RECORD_MAX 512 /* bytes of the longest record; copying dominates beyond */

struct gather;

/*
 * Loads the program for this map. -EOPNOTSUPP, with a reason, when the map, the layout or the kernel is not made for it:
 * another type than array or hash, per-CPU values kept apart, fields whose fold takes more than integers, long records, a map that programs must not
 * write.
 */
int gather__open(const struct extract_map *map, const struct layout *layout,
		 const struct extract_filter *filters, size_t nfilters, struct gather **out,
		 struct error *error);
void gather__free(struct gather *gather); /* NULL-safe */

/*
 * Reads the map and, with `clear`, removes what it has read (hashes) or zeroes it (arrays), filtered out or not. *records holds *count records until the next run.
 * On a hash that somebody writes, an entry that moves may be there twice.
 */
int gather__run(struct gather *gather, bool clear, const unsigned char **records, size_t *count);

#endif
