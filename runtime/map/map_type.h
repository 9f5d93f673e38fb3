/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every type of BPF map: its name, how it is read, and why not where it cannot be.
 */
#ifndef PERILUNE_MAP_TYPE_H
#define PERILUNE_MAP_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbers that the headers of older systems lack; the kernel's own enum goes on in the same way. */
#define MAP_TYPE_ARENA 33
#define MAP_TYPE_INSN_ARRAY 34

enum map_way {
	MAP_ENTRIES, /* keys and values */
	MAP_IDS,     /* keys, and numbers that name interfaces, programs, sockets, CPUs */
	MAP_INNER,   /* keys, and maps */
	MAP_POP,     /* values in an order, of which only the first can be seen without taking it */
	MAP_STACKS,  /* numbers, and lists of addresses */
	MAP_RING,    /* records of any size, in shared memory */
	MAP_EVENTS, /* records that the kernel hands only to one reader, from when it begins to listen */
	MAP_TASKS,	/* a value for each task that has one */
	MAP_CGROUPS,	/* a value for each cgroup that has one */
	MAP_SOCKETS,	/* a value for each socket that has one */
	MAP_DESCRIBED,	/* it has parameters, and no contents to read */
	MAP_UNREADABLE, /* the kernel keeps its contents to itself */
};

struct map_type {
	uint32_t number;
	const char *name; /* as bpftool calls it: "lru_percpu_hash" */
	enum map_way way;
	bool per_cpu;
	bool array;	    /* its keys are 0 … max_entries - 1, all of them there */
	const char *why;    /* MAP_DESCRIBED, MAP_UNREADABLE: why, as what follows "…: a NAME" */
	const char *remedy; /* and what to do */
};

/* NULL for a number that is not known here. */
const struct map_type *map_type__find(uint32_t number);

/* Its name, or "type N" written into `room` (at least 16 bytes) for one that is not known. */
const char *map_type__name(uint32_t number, char *room);

/* Name of bit number `bit` of the map flags ("no_prealloc"), or NULL. */
const char *map_type__flag(unsigned bit);

#endif
