/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network interfaces of the calling thread's network namespace, by the names that people type.
 */
#ifndef PERILUNE_INTERFACE_H
#define PERILUNE_INTERFACE_H

#include <net/if.h>
#include <stdbool.h>

#include "error.h"

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

#endif
