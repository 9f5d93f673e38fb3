/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of twin share, and nobody else includes. */
#ifndef PERILUNE_TWIN_IMPL_H
#define PERILUNE_TWIN_IMPL_H

#include "probe/twin.h"
#include "probe/window_grace.h"

#define TWIN_NAME 64 /* bytes of a name of a program or map, with its NUL */

struct bpf_map;
struct bpf_object;

struct twin_entries {
	char map[TWIN_NAME];
	uint32_t entries;
};

struct twin_use {
	char program[TWIN_NAME];
	enum hook hook;
};

struct twin_tail {
	char map[TWIN_NAME], program[TWIN_NAME];
	uint32_t index;
};

/* A map that is another twin's: of each of its instances; the second -1 where it has only one of it. */
struct twin_share {
	char map[TWIN_NAME];
	int fds[2];
};

struct twin_link {
	struct attachment *attachment;
	char program[TWIN_NAME];
	bool gone; /* its interface is */
};

/* A map as it is read. Of one that both instances use, [1] is empty. */
struct twin_map {
	char name[TWIN_NAME];
	struct layout *layout;
	struct extract *quiet[2]; /* by drain: nobody else writes */
	struct extract *live[2];  /* by read; opened at its first use */
	/* Where the total of an LRU map is (a number), its field and the one of the rows; NULL: no total. */
	size_t total;
	const struct field *field, *total_field;
	int64_t total_index;
};

struct twin {
	char name[TWIN_NAME];
	void *bytes; /* of the object, for the second instance */
	size_t len;
	struct bpf_object *objects[2]; /* [1]: NULL until there are windows */
	bool loaded;
	int force;	    /* which of the two is attached */
	bool quiet, graced; /* the other waits to be drained; and nothing runs in it any more */
	struct grace grace;
	struct twin_entries entries[TWIN_MAPS_MAX];
	struct twin_use uses[TWIN_LINKS_MAX + TWIN_TAILS_MAX];
	struct twin_tail tails[TWIN_TAILS_MAX];
	struct twin_share shares[TWIN_MAPS_MAX];
	struct twin_link links[TWIN_LINKS_MAX];
	struct twin_map maps[TWIN_MAPS_MAX];   /* windowed */
	struct twin_map others[TWIN_MAPS_MAX]; /* not windowed, as far as they were asked for */
	size_t nentries, nuses, ntails, nshares, nlinks, nmaps, nothers;
	bool keep; /* per-CPU values of maps that are not windowed stay apart */
};

/* Copies a name that fits, or fails: -ENAMETOOLONG. */
int twin__copy_name(char *into, const char *name, struct error *error);

/* Before an instance is loaded: sizes, kinds of programs. */
int twin__prepare(struct twin *twin, struct bpf_object *object, struct error *error);
/* After it: its tail calls. */
int twin__fill_tails(struct twin *twin, struct bpf_object *object, struct error *error);

/* Part of twin__prepare: the maps that are another's. */
int twin__use_shares(struct twin *twin, struct bpf_object *object, struct error *error);
bool twin__is_share(const struct twin *twin, const char *map);
void twin__free_shares(struct twin *twin);

void twin_map__unload(struct twin_map *map); /* all but the layout */
void twin_map__free(struct twin_map *map);

#endif
