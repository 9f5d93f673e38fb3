/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Windows: flip → grace → drain.
 *
 * Every windowed map has two halves. Packets write the one that the lowest bit of the epoch names. Flipping is one store; programs that
 * read the epoch before it may still be counting in the other half, so it is read and cleared only after a grace period, when they
 * have all ended. Then each packet has been counted in exactly one window, in all maps of the probe alike.
 *
 *	LIVE ──flip──▶ QUIET ──drain──▶ CLEAN (= LIVE again at the next flip)
 *
 * A half that is not drained yet is never flipped into: flip says -EBUSY and the window goes on.
 *
 * A trigger in the kernel (bpf/trigger.h) may raise the level by itself. While the quiet half is clean, which the control block says, it
 * flips as well, and the window is one like any other. While it is not, the level alone changes: such a window has counts of several levels.
 * Either way nothing is missed: the next flip finds it, whoever made it.
 */
#ifndef PERILUNE_WINDOW_H
#define PERILUNE_WINDOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "extract/extract.h"
#include "probe/ledger.h"
#include "probe/probe.h"
#include "probe/window_map.h"

#define WINDOW_MAPS_MAX 64

enum window_kind {
	WINDOW_MAP,   /* X_0 and X_1, of any type but LRU; per-CPU or not */
	WINDOW_ARRAY, /* an array with both halves, one after the other; per-CPU or not */
};

struct window_spec {
	const char *map; /* as the program names it */
	enum window_kind kind;
	uint32_t entries; /* arrays: values in each half */
	const char *
		index; /* arrays: enum that the index is shown as, and its name in a record; NULL: "index" */
	const struct window_fold *folds; /* per-CPU maps: other than as their types say */
	size_t nfolds;
	bool keep; /* per-CPU maps: no fold, a record has every CPU's values */
};

struct window;

/*
 * For a loaded probe, which must outlive it. When the probe has a ledger (ledger.h), every flip and clearing is entered there, the quiet half is
 * read and cleared in two steps instead of by window__drain, and the windows go on where the ledger says they are. -EOPNOTSUPP then for maps that
 * cannot be read without taking what is in them, -EPROTO when ledger and epoch contradict each other.
 */
int window__new(struct probe *probe, const struct window_spec *specs, size_t count,
		struct window **out, struct error *error);
void window__free(struct window *window);

size_t window__count(const struct window *window);
/* How the map is read here. */
enum extract_way window__way(const struct window *window, size_t map);
const struct layout *window__layout(const struct window *window, size_t map);

/* What packets of a window are run with; see bpf/ctl.h. */
struct window_state {
	uint8_t level; /* an index; 0 is the cheapest */
	uint8_t thin;  /* sampled probes look at one packet in (their own rate << thin) */
	uint16_t shed; /* bit i: the i-th probe that may be shed is off */
};

/* How a window ended. */
struct window_flip {
	uint64_t time; /* CLOCK_MONOTONIC ns; that of a trigger's flip in a replay: the capture's */
	struct window_state began; /* what the next one has begun with */
	bool by_trigger;	   /* a trigger has raised the level, and `began` with it */
	uint8_t deepest; /* the ended one may have counts of the level that it began with, and of those up to this one */
};

/*
 * Ends the window and starts the next with `next`, in one store. Where a trigger has raised the level meanwhile, its level is kept unless
 * next's is higher; where it has flipped already, that was the flip. *flip (may be NULL) says how it was. -EBUSY while a half is still to be
 * drained.
 */
int window__flip(struct window *window, const struct window_state *next, struct window_flip *flip);

/* Whether a trigger has changed the level since the last flip. */
bool window__is_raised(const struct window *window);

/*
 * Waits until no program counts in the quiet half any more (8 to 16 ms). *seconds says how long it took. For a worker.
 */
int window__grace(struct window *window, double *seconds, struct error *error);

/*
 * After the grace period (or where nothing runs concurrently, as in a replay): reads and clears the quiet half of the maps whose bit is
 * set in `maps`, each into batches[map]. What cannot be read stays in its half and comes with the window that half serves next: late,
 * but not lost. From then on triggers may flip. *seconds (if not NULL) says how long it took. For a worker.
 */
int window__drain(struct window *window, uint64_t maps, bool sorted, struct batch *batches,
		  double *seconds, struct error *error);

/* What a ledger's windows have besides, in this order: the half that is not counted in, as it was found or is now; */
enum ledger_half window__half(const struct window *window);
/* after the grace period: as window__drain, but everything stays where it is; */
int window__read(struct window *window, uint64_t maps, bool sorted, struct batch *batches,
		 double *seconds, struct error *error);
/* once that is written out: clears these maps, and from then on the window can be flipped. For a worker. */
int window__clear(struct window *window, uint64_t maps, struct error *error);

/*
 * For windows without a ledger, whose half is clean and which no packet has met yet: from now on it is entered there, as by ledger__succeed. No
 * window ends, by a trigger either, before window__told. -EOPNOTSUPP as window__new.
 */
int window__account(struct window *window, struct ledger *ledger, struct error *error);
void window__told(struct window *window);

/*
 * What the window that goes on has in this map as yet; nothing is cleared. -EAGAIN when a trigger has just ended it. Not beside a flip.
 */
int window__look(struct window *window, size_t map, struct batch *batch);

#endif
