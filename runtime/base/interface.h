/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces of the calling thread's network namespace, by the names that people type.
 */
#ifndef PERILUNE_INTERFACE_H
#define PERILUNE_INTERFACE_H

#include <net/if.h>
#include <stdbool.h>

#include "base/error.h"

struct interface {
	int index;
	char name[IF_NAMESIZE];
	bool up;
	int mtu; /* bytes behind the link header */
};

/* -ENODEV, with the names that there are and the nearest of them, when there is none of this name. */
int interface__find(const char *name, struct interface *out, struct error *error);

/* The one that the default route leads to. -ENODEV when there is no such route. */
int interface__default(struct interface *out, struct error *error);

/*
 * Names of interfaces in records, where they are indices of the namespace that is watched. The kernel tells those of its own
 * namespace only, and forgets those that have gone: so what is watched is remembered (the latest of some thousand). For the loop's
 * thread.
 */
void interface__remember(int index, const char *name);
/* Whether indices that are not remembered are asked of this namespace: not when another is watched. They are at first. */
void interface__ask(bool ask);
/* The name, in `name` or in memory of its own; NULL when it is not known. */
const char *interface__name(unsigned int index, char name[IF_NAMESIZE]);
/* The index, or 0 when it is not known. */
unsigned int interface__index(const char *name);

#endif
