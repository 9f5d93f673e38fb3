/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows over programs that know nothing of windows: the object is loaded twice, and the two take turns.
 *
 * Nothing is rewritten and nothing recompiled. The second instance has fresh copies of the windowed maps and uses every other
 * map of the first: hashes, rings, also global variables. To end a window, the program on each link is replaced by the other
 * instance's; after a grace period the maps of the one that went are quiet, and are read and cleared.
 *
 *	open ─▶ entries, use, tail ─▶ load ─▶ attach … ─▶ window ─▶ swap ─▶ drain ─▶ swap ─▶ …
 *
 * Each instance has its own, besides the windowed maps: arrays of programs (a tail call must stay in its instance) and maps of
 * maps that hold a windowed one; both with what the source puts in. What user space has put there since is not copied; tail
 * calls are declared by twin__set_tail. Refused: windowed maps that are pinned by their name, since a pin shows one map; maps of
 * maps, since there are no records in them; .data and .rodata, whose values are not counts.
 *
 * Loading, attaching, swapping and reading block: they belong on a worker, one at a time.
 */
#ifndef PERILUNE_TWIN_H
#define PERILUNE_TWIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "extract/extract.h"
#include "probe/attach.h"
#include "probe/window_map.h"

#define TWIN_MAPS_MAX 64
#define TWIN_LINKS_MAX 16
#define TWIN_TAILS_MAX 64

struct twin;

struct twin_spec {
	const char *
		map; /* as the source names it; ".bss" is its global variables that start as zero */
	const struct window_fold *folds;
	size_t nfolds;
	bool keep; /* per-CPU maps: no fold, a record has every CPU's values; such a map has no total */
	/*
	 * What an LRU map has evicted is a total less what its rows add up to. `field` of this map is added up over all rows,
	 * `total_field` over the records of `total`, another windowed map, or at index `total_index` of it. NULL: no total.
	 */
	const char *field, *total, *total_field;
	int64_t total_index; /* -1: over all records */
};

/* What a swap and a drain took. Seconds, but for wall. */
struct twin_cost {
	uint64_t wall; /* when the first link was replaced: ns since the epoch */
	uint64_t now;  /* the same in loop__now's clock */
	double swap;   /* until all links were replaced */
	/*
	 * From the first link's replacement to the last's: between `skew_least` and `skew`, which differ because a replacement
	 * takes effect at some point of its call. Both 0 with one link.
	 */
	double skew, skew_least;
	double grace;
	double read; /* reading and clearing */
	size_t gone; /* links whose interface no longer is */
};

/* Opens ELF bytes (copied). `name` is used in errors. */
int twin__open(const void *object, size_t len, const char *name, struct twin **out,
	       struct error *error);

/* Before load: how many entries a map shall have. */
int twin__set_entries(struct twin *twin, const char *map, uint32_t entries, struct error *error);

/*
 * Before load: where `program` will be attached, for programs whose section name does not say what they are. Programs of which
 * nothing says so are not loaded.
 */
int twin__use(struct twin *twin, const char *program, enum hook hook, struct error *error);

/* Before load: `program` goes into slot `index` of an array of programs, in each instance its own. */
int twin__set_tail(struct twin *twin, const char *map, uint32_t index, const char *program,
		   struct error *error);

/*
 * Before load: `map` is the other's map of the same name, of whose windows it has part: where the other's two instances have each
 * their own, so have this one's. The other is loaded, and has its windows if there are to be any. Such two are swapped one after
 * the other before either is drained, and the map is read by the other. -EINVAL: it is not the same kind of map there.
 */
int twin__share(struct twin *twin, const struct twin *other, const char *map, struct error *error);

/* Before a map is read that is not windowed: records of per-CPU maps are to have every CPU's values. */
void twin__keep(struct twin *twin);

/* Loads the first instance. When the verifier refuses, the error says why: -ENOEXEC. */
int twin__load(struct twin *twin, struct error *error);

/* Attaches the instance in force. *mode_name: static storage. */
int twin__attach(struct twin *twin, const char *program, enum hook hook, int ifindex,
		 enum attach_mode mode, const char **mode_name, struct error *error);

/*
 * Takes over every link of `from`: each gets the program of the same name in one step, so that no packet is seen by both or by
 * neither. When one cannot be replaced, those before it are put back and `from` goes on. A twin that has links of its own cannot: -EBUSY.
 */
int twin__adopt(struct twin *twin, struct twin *from, struct error *error);

/* After load: sets an entry of a map that both instances use. -EINVAL: its keys and values have other sizes. */
int twin__put(struct twin *twin, const char *map, const void *key, size_t key_size,
	      const void *value, size_t value_size, struct error *error);

/*
 * Loads the second instance, in which these maps are windowed (none, where only shared ones are). When it cannot be, the first goes on as it was, and this may be
 * tried again. Once it is there: -EALREADY.
 */
int twin__window(struct twin *twin, const struct twin_spec *specs, size_t count,
		 struct error *error);

size_t twin__count(const struct twin *twin); /* windowed maps, numbered from 0 */
enum extract_way twin__way(const struct twin *twin,
			   size_t number); /* how a windowed map is read here */
const struct layout *twin__layout(const struct twin *twin, size_t number);

/*
 * Ends the window: replaces the program on every link, then waits for the grace period. -EBUSY while the last window is not
 * drained. When a link cannot be replaced, those before it are put back and the window goes on: what was counted meanwhile comes
 * with the next one. A link whose interface is gone counts nothing more, and is passed over. `cost` may be NULL.
 */
int twin__swap(struct twin *twin, struct twin_cost *cost, struct error *error);

#define TWIN_NOT_KNOWN INT64_MIN

/*
 * After swap: reads and clears the quiet instance's windowed maps whose bit is set in `maps`, each into batches[map]. What cannot be
 * read comes with a later window. evicted[map], for all maps: what is missing in its rows, or TWIN_NOT_KNOWN where there is no
 * total or one of the two was not read. `cost` and `evicted` may be NULL.
 */
int twin__drain(struct twin *twin, uint64_t maps, bool sorted, struct batch *batches,
		int64_t *evicted, struct twin_cost *cost, struct error *error);

/*
 * Reads a map in use, windowed (then that of the instance in force) or not: the number for twin__read, and its layout. -ENOENT,
 * -EOPNOTSUPP. Windowed maps have the numbers of their specs.
 */
int twin__find(struct twin *twin, const char *map, size_t *number, struct error *error);

/*
 * Without `clear` nothing changes (of a queue or stack only the head is seen then). With it, the entries that were read are deleted, or zeroed,
 * and nothing else: no swap, no window ends.
 */
int twin__read(struct twin *twin, size_t number, bool clear, struct batch *batch,
	       struct error *error);

/* Detaches from everything, last attached first. Returns how many links there were, or the first -errno. */
int twin__detach(struct twin *twin);

/*
 * Detaches and unloads: programs and maps are given back. What is left are the layouts of what has been read, until twin__free;
 * nothing else may be asked for. NULL-safe.
 */
void twin__unload(struct twin *twin);

/* The same, and frees. NULL-safe. Layouts that were handed out are gone then. */
void twin__free(struct twin *twin);

#endif
