/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy that goes on without its process: maps, programs, links and the ledger of its windows (ledger.h) are pinned on the BPF file system.
 *
 *	ROOT/POLICY/run/ledger, maps/NAME, programs/NAME, links/PLACE
 *
 * open → begin (anew) or adopt (what a process has left that was killed) → … → remove (a clean end) or leave (another process goes on).
 * The directory `run` is locked as long as a process has it, so there is one owner; a lock that can be had tells of a process that
 * is gone. The ledger's magic is stored when all else is pinned, before the first link: without it there is nothing to adopt, and what is there is
 * removed. Dots in names, which that file system keeps for itself, become underscores.
 */
#ifndef PERILUNE_PINNED_H
#define PERILUNE_PINNED_H

#include <stdbool.h>

#include "base/error.h"
#include "probe/ledger.h"
#include "probe/probe.h"
#include "probe/window.h"

#define PINNED_ROOT "/sys/fs/bpf/perilune"
#define PINNED_PATH 160 /* bytes of a path to a directory, with its NUL */

struct pinned;

/* What is to be known of a directory without having it. */
struct pinned_look {
	char policy[64], version[32], file[256];
	bool whole;    /* there is something to adopt */
	bool readable; /* by this version: */
	int pid;       /* of the process that has it, or had it */
	bool alive;    /* it is there */
	uint64_t seq;  /* of the window that goes on, or of the last one that is known of */
	unsigned char digest[LEDGER_DIGEST];
};

/*
 * Takes the directory of a policy. -EOPNOTSUPP: `root` is not on a BPF file system; -EBUSY: another process has it; -ESTALE: what is there is
 * another version's.
 */
int pinned__open(const char *root, const char *policy, struct pinned **out, struct error *error);

/* Whether a process has left something to adopt. */
bool pinned__found(const struct pinned *pinned);

/* Of these two, what pinned__begin and pinned__adopt are given. `how`: text that says how the object's maps are read. */
void pinned__digest(const void *object, size_t len, const char *how,
		    unsigned char digest[LEDGER_DIGEST]);

struct pinned_about {
	const unsigned char *digest;
	const char *version, *file;
	uint64_t seq;	     /* of the first window */
	uint64_t wall, mono; /* when it begins, as in struct ledger_window */
};

/* After the probe is loaded: pins it, gives it its ledger, and has its links pinned. */
int pinned__begin(struct pinned *pinned, struct probe *probe, const struct pinned_about *about,
		  struct error *error);

/* Instead of loading it: it gets the programs, maps and links that are there. -ESTALE: they are of something else. */
int pinned__adopt(struct pinned *pinned, struct probe *probe, const unsigned char *digest,
		  struct error *error);

/*
 * Another declaration of the policy takes the place of this one while it runs. All of it is pinned in a directory beside, with the same links;
 * then the two directories are exchanged, which is one step, and then links are given the new programs, one after the other. So:
 *
 *	before the exchange	this one is adopted, and what is beside is removed
 *	after it		the new one is adopted, which puts its programs on all links; what this one had counted since its last window
 *				is in the directory beside, and told first (pinned__rest), as long as the new ledger says LEDGER_INHERITED
 *	once that is told	the directory beside is removed
 *
 * A process may be killed between any two of these. pinned__succeed does all up to and with the exchange, for a loaded probe whose windows have no
 * ledger and which is attached to nothing; about->seq follows that of the window that goes on here; `sums` are as of the last that was told.
 */
int pinned__succeed(struct pinned *pinned, struct probe *probe, struct window *window,
		    const struct pinned_about *about, const double *sums, size_t count,
		    struct error *error);
/* It cannot be attached: this one goes on. The probe is to be detached already. */
void pinned__undo(struct pinned *pinned);
/* All that was counted here before is told: what is beside goes. */
void pinned__settled(struct pinned *pinned);

/*
 * After pinned__adopt, of a ledger that says LEDGER_INHERITED, when all links have the adopted programs and a grace period has passed: the
 * window of the policy before that nobody was told of, and what is in its map `totals`, an array with both halves, into a batch of that layout.
 */
int pinned__rest(const struct pinned *pinned, const char *totals, const struct layout *layout,
		 struct ledger_window *when, struct batch *out, struct error *error);

/* Borrowed; NULL before begin and adopt. */
struct ledger *pinned__ledger(struct pinned *pinned);

/* Lets go of the directory, and leaves in it what is there; or removes all of it first (the probe detaches its links by itself). NULL-safe. */
void pinned__leave(struct pinned *pinned);
void pinned__remove(struct pinned *pinned);

/* Removes what a process has left that is gone. -EBUSY: it is there; -ENOENT: nothing of that policy. */
int pinned__forget(const char *root, const char *policy, struct error *error);

/* Asks the process that has a policy's pins to leave them to another (SIGUSR2). -ESRCH: nobody has them. */
int pinned__ask(const char *root, const char *policy, struct error *error);

/* -ENOENT: nothing of that policy. */
int pinned__look(const char *root, const char *policy, struct pinned_look *out);

/* fn for everything there is below root. */
int pinned__each(const char *root, void (*fn)(const struct pinned_look *look, void *arg),
		 void *arg);

#endif
