/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs of this machine, as far as maps need them: who uses which map.
 */
#ifndef PERILUNE_MAP_PROG_H
#define PERILUNE_MAP_PROG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct map_prog {
	uint32_t id;
	uint32_t btf; /* id of its BTF, or 0 */
	char name[16];
	uint32_t *maps; /* ids of the maps it uses */
	size_t nmaps;
};

struct map_progs {
	struct map_prog *all; /* by id */
	size_t count;
};

/* Reads them all; those that go meanwhile are left out. -EPERM without CAP_SYS_ADMIN. */
int map_progs__read(struct map_progs *out, struct error *error);
void map_progs__free(struct map_progs *progs); /* may be called on one that is all zero */

bool map_prog__uses(const struct map_prog *prog, uint32_t map);

#endif
