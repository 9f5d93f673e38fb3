/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a service does for the one that manages it, and for those it serves: tells that it is ready and alive (sd_notify(3): a
 * datagram to $NOTIFY_SOCKET), and lays down the rights that it needs no more.
 */
#ifndef PERILUNE_SERVICE_H
#define PERILUNE_SERVICE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct service;

/*
 * Takes what the environment says of the manager, and takes it out of the environment: processes that are started are not to
 * speak for this one. 0 and NULL when nobody manages it.
 */
int service__open(struct service **out, struct error *error);

/* Tells "READY=1" and its like, one or more lines. Never waits; -EAGAIN when the manager does not read. */
int service__tell(const struct service *service, const char *state);

/* How often the manager wants to hear "WATCHDOG=1", µs; 0: not at all. */
uint64_t service__watchdog(const struct service *service);

/* NULL-safe. */
void service__free(struct service *service);

/* Sets of capabilities: bit CAP_x of capabilities(7). */
struct service_rights {
	uint64_t effective, permitted, bounding;
};

int service__rights(struct service_rights *out);

/*
 * Keeps only these: `own` in this process, and `handed` for the programs that it starts. For root these come from the bounding
 * set; for others, from what is permitted and ambient. What cannot be taken out of the bounding set (it takes CAP_SETPCAP)
 * stays there.
 */
int service__keep_rights(uint64_t own, uint64_t handed);

#endif
