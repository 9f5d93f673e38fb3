/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How maps of each type are read on this kernel, found by opening one of each. For what shows it; readers ask extract__way.
 */
#ifndef PERILUNE_EXTRACT_KINDS_H
#define PERILUNE_EXTRACT_KINDS_H

#include "extract/extract.h"

#define EXTRACT_KINDS_MAX 16

struct extract_kind {
	const char *type; /* "hash"; "array, mapped": with BPF_F_MMAPABLE */
	int result; /* 0, or -errno: this kernel has no such map, or it cannot be read; then there are no ways */
	enum extract_way quiet; /* nobody else writes: a window's half */
	enum extract_way used;	/* others may write: a map in use */
	enum extract_way large; /* as quiet, with more than EXTRACT_GATHER_MAX entries */
};

/* Fills `out`, returns how many there are. Leaves no map behind. Takes some ms. */
size_t extract_kinds__try(struct extract_kind out[EXTRACT_KINDS_MAX]);

#endif
