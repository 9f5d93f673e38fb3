/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other network namespaces than the process's own.
 *
 * The namespace of a thread decides where its sockets are made and which interfaces an index means, so work for another one is
 * done by a short-lived thread that enters it and ends there. No thread that does anything else ever changes its namespace.
 */
#ifndef PERILUNE_NETNS_H
#define PERILUNE_NETNS_H

#include <stdbool.h>

#include "base/error.h"

/* The descriptor that stands for the namespace the process is in. */
#define NETNS_OWN (-1)

/*
 * Opens the namespace NAME (as `ip netns` has it) or a path, which has a slash. The descriptor in *fd, to be closed by the caller,
 * keeps the namespace alive. -ENOENT when there is none, -EINVAL when it is something else.
 */
int netns__open(const char *name, int *fd, struct error *error);

/* Whether the name still stands for the namespace that `fd` is. */
bool netns__is(const char *name, int fd);

/*
 * fn(arg) inside the namespace; returns what it returns. NETNS_OWN: on the calling thread. -errno, and an error that says so, when
 * the namespace cannot be entered: -EPERM without CAP_SYS_ADMIN.
 */
int netns__call(int fd, int (*fn)(void *arg), void *arg, struct error *error);

#endif
