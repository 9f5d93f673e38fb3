/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BPF map of this machine, whoever made it: found by its pin, its id or its name, and what the kernel says of it.
 */
#ifndef PERILUNE_MAP_H
#define PERILUNE_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "map/map_type.h"

#define MAP_NAME_MAX 16 /* bytes of a map's name in the kernel, with its NUL; longer ones are cut */

struct map {
	int fd; /* the map's own */
	uint32_t id, type;
	uint32_t key_size, value_size; /* bytes; 0 where a type has none */
	uint32_t max_entries;
	uint32_t flags; /* BPF_F_… it was made with */
	uint64_t extra; /* what some types add: a bloom filter's number of hashes */
	char name[MAP_NAME_MAX];
	uint32_t btf;		       /* id of its BTF, or 0 */
	uint32_t key_type, value_type; /* in that BTF; 0: not said */
	uint32_t kernel_btf; /* id of the kernel's or a module's BTF, for the next; 0: vmlinux */
	uint32_t kernel_value_type;  /* struct_ops: the value's type there; otherwise 0 */
	const struct map_type *kind; /* NULL for a type that perilune does not know */
};

/* -ENOENT and what is there instead for a path that is no pinned map; -EPERM with what it takes. */
int map__open_path(const char *path, struct map *out, struct error *error);

/* -ENOENT when no map has this id. */
int map__open_id(uint32_t id, struct map *out, struct error *error);

/* Takes the descriptor over, also when it fails. */
int map__open_fd(int fd, struct map *out, struct error *error);

/* May be called twice, and on one that is all zero. */
void map__close(struct map *map);

/* The id after `id` (0: the first) of the maps of this machine. -ENOENT after the last. */
int map__next_id(uint32_t id, uint32_t *next, struct error *error);

/*
 * Whether the kernel's name, cut as it may be, stands for `name`.
 */
bool map__has_name(const char *kernel_name, const char *name);

/*
 * What an errno of the BPF system call on `what` ("map 12") means and what to do about it. Returns `code`.
 */
int map__explain(struct error *error, int code, const char *what);

#endif
