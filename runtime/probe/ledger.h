/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The account of a policy's windows that outlives its process: shared memory of a pinned map (pinned.h), beside the maps that it tells of.
 *
 * Windows are numbered by the epoch (bpf/ctl.h), and each has a `seq` of its own for those who read them. All is stored in this order,
 * by the one process that holds the lock, and a process may be killed between any two stores:
 *
 *	flip	windows[e + 1] ─▶ ctl.epoch = e + 1 ─▶ windows[e + 1] as it was, with the time
 *	export	(grace) ─▶ read, nothing is cleared ─▶ written out ─▶ sums[e] ─▶ exported = e
 *	clear	maps of the half of e ─▶ cleaned = e ─▶ ctl.ready = e + 2
 *
 * A flip, the kernel's as well, is only made when cleaned is epoch - 1. So when the epoch is found to be e, the half of e is the one that is
 * counted in, and the state of the other, which is that of e - 1, follows from two words:
 *
 *	cleaned = e - 1				CLEAN		nothing to do
 *	cleaned = e - 2, exported = e - 2	QUIET		read, write out under the same seq, clear
 *	cleaned = e - 2, exported = e - 1	CLEARING	only clear
 *	cleaned = e - 1, exported = e - 2	INHERITED	the policy whose place this one has taken (pinned.h) is to be told of first: sums
 *							are without its last window, and no window ends until exported = e - 1
 *
 * Whatever is found in between is one of these. Written out twice is what was so just before the process was killed: with the same seq
 * and the same counts, since nobody counts in a half after its grace period and nothing has been cleared. Counts are missing of none:
 * nothing is cleared that is not written out. The entries windows[] and sums[] of an epoch lie in the slot of its lowest bit, and are
 * overwritten no sooner than the epoch before it is clean.
 */
#ifndef PERILUNE_LEDGER_H
#define PERILUNE_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_MAGIC 0x2020656e756c6972ULL /* "rilune  " */
#define LEDGER_ABI 1			   /* of this struct and of what its words mean */
#define LEDGER_SUMS 48			   /* numbers that go on from window to window */
#define LEDGER_DIGEST 32

/* When a window began, and with what. */
struct ledger_window {
	uint32_t epoch; /* stored last, so that an entry is whole */
	uint32_t pad;
	uint64_t seq;
	uint64_t wall;	/* µs since 1970 */
	uint64_t mono;	/* CLOCK_MONOTONIC ns */
	uint64_t state; /* union ctl_state as a whole */
};

struct ledger_sums {
	uint32_t epoch; /* up to and with that window */
	uint32_t count;
	double values[LEDGER_SUMS];
};

/* Whose it is. A pid alone comes back. */
struct ledger_owner {
	int32_t pid;
	uint32_t pad;
	uint64_t start; /* clock ticks since boot */
};

struct ledger {
	uint64_t magic; /* stored last: before, there is nothing to adopt */
	uint32_t abi;
	uint32_t size;			     /* of this struct */
	unsigned char digest[LEDGER_DIGEST]; /* of the object and of how it is read */
	char version[32];		     /* of the perilune that began it */
	char policy[64];
	char file[256];
	struct ledger_owner owner;
	uint32_t exported, cleaned; /* epochs */
	struct ledger_window windows[2];
	struct ledger_sums sums[2];
};

enum ledger_half { LEDGER_CLEAN, LEDGER_QUIET, LEDGER_CLEARING, LEDGER_INHERITED };

/* Begins an account: epoch 0 is counted in, as the window `seq`. All but the magic, policy, file, version and digest. */
void ledger__begin(struct ledger *ledger, const struct ledger_window *first);

/* The same, of one that goes on from another's sums. */
void ledger__succeed(struct ledger *ledger, const struct ledger_window *first, const double *sums,
		     size_t count);

/* The state of the half that is not counted in when the epoch is `epoch`; -EPROTO: one that cannot be. */
int ledger__half(const struct ledger *ledger, uint32_t epoch);

/*
 * Says how the window of that epoch begins, or, of one that is entered already, how it has begun. seq follows the window's before it; that of one
 * that is entered stays, since the slot of the one before may by then have what is intended after it.
 */
void ledger__intend(struct ledger *ledger, uint32_t epoch, uint64_t wall, uint64_t mono,
		    uint64_t state);

/* What is known of a window; false: nothing, since the kernel began it by itself. */
bool ledger__window(const struct ledger *ledger, uint32_t epoch, struct ledger_window *out);

/* That window is written out, and the sums are these. */
void ledger__exported(struct ledger *ledger, uint32_t epoch, const double *sums, size_t count);

/* The half of that window is clean. */
void ledger__cleaned(struct ledger *ledger, uint32_t epoch);

/* The sums as of the last window that was written out; how many there are. */
size_t ledger__sums(const struct ledger *ledger, double sums[LEDGER_SUMS]);

/*
 * Test builds die here when PERILUNE_FAULT_DIE names the place: "intended", "triggered" (the same, of the end of a window that a trigger has begun),
 * "flipped", "quiet", "read", "written", "exported", "cleared", "cleaned", and of a policy that takes the place of another "prepared", "exchanged",
 * "taking", "inheriting", "inherited"; with ":N" at the N-th time.
 */
#ifdef PERILUNE_FAULTS
void ledger__may_die(const char *place);
#else
static inline void ledger__may_die(const char *place)
{
	(void)place;
}
#endif

#endif
