/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grace period: waiting until every program that runs now has ended.
 *
 * The kernel answers an update of an array of maps only when no running program can still use the map that was there before. A
 * private one with a single slot is as good as any, so one is made for this alone.
 */
#ifndef PERILUNE_WINDOW_GRACE_H
#define PERILUNE_WINDOW_GRACE_H

#include <stdint.h>

#include "base/error.h"

struct grace {
	int outer, inner;
};

/* What grace__close may be given before grace__open. */
#define GRACE_CLOSED {.outer = -1, .inner = -1}

int grace__open(struct grace *grace, struct error *error);
void grace__close(struct grace *grace);

/* Waits, 8 to 16 ms as a rule: for a worker. */
int grace__wait(const struct grace *grace, struct error *error);

/* Seconds from `since` (loop__now's clock, ns) to now. */
double grace__seconds(uint64_t since);
uint64_t grace__now(void);

#endif
