/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long programs run on live packets, by the kernel's own run statistics.
 *
 * While they are on, every run of every BPF program on the machine takes some 100 ns longer, so they are on until enough runs have been
 * counted: where nothing runs they cost nothing, and may stay on. A
 * descriptor holds them on and dies with the process: nobody else's setting is touched, and nothing is left on. Turning them on and
 * off again is a change of the kernel's text on all CPUs, 0.2 ms each on two.
 */
#ifndef PERILUNE_STATISTICS_H
#define PERILUNE_STATISTICS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* What the statistics themselves take, measured with a program that does nothing. */
struct statistics_own {
	double measured_ns; /* of a run, that they count as the program's */
	double added_ns;    /* to a run, in all */
};

/*
 * When a span ends: once `runs` have been counted and `least_s` has gone by, but after `most_s` in any case, and soon after *stop (may be
 * NULL) is set. Seconds. What an end chosen by `runs` says of a run is fair; what it says of how often programs run is not, since it
 * comes in the middle of a burst.
 */
struct statistics_until {
	uint64_t runs;
	double least_s;
	double most_s;
	const atomic_bool *stop;
};

/* What was counted in one span. */
struct statistics_span {
	uint64_t
		runs; /* of all the programs; packets that were under way at its begin are in no span */
	double ns; /* that these took, without what a program that does nothing would be said to take */
	double seconds; /* how long it was */
	double busy_s;	/* of that, from when the first of these runs may have been */
	double now_s;	/* CLOCK_MONOTONIC at its end */
	double used_s; /* CPU time that this process and the children it has waited for have used so far */
};

/* Some ms. -EPERM without CAP_SYS_ADMIN. */
int statistics__calibrate(struct statistics_own *out, struct error *error);

/*
 * Watches the programs with these descriptors for a span. It waits, so it is for a worker. -EPERM without CAP_SYS_ADMIN.
 */
int statistics__span(const int *programs, size_t count, const struct statistics_until *until,
		     const struct statistics_own *own, struct statistics_span *out,
		     struct error *error);

#endif
