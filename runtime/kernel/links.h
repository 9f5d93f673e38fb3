/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The network interfaces of a namespace, as they come, change and go.
 *
 * links__open() subscribes; from then on every change is kept for links__read(). When changes come faster than they are read, some
 * are lost and links__read() says so: links__list() then tells what there is. A list taken after links__open() and the changes read
 * after the list give the whole picture, though a change may be older than the list.
 */
#ifndef PERILUNE_LINKS_H
#define PERILUNE_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/netlink.h"

struct links;

/* `netns` as netns__call takes it; a duplicate is kept, which keeps the namespace alive. `buffer`: bytes of changes that the kernel
 * keeps for us; 0 for what is enough for some thousand. */
int links__open(int netns, int buffer, struct links **out, struct error *error);
/* NULL-safe. */
void links__close(struct links *links);

/* Readable when links__read() has something to say. Borrowed. */
int links__fd(const struct links *links);

/* The namespace that was given to links__open, or NETNS_OWN. Borrowed. */
int links__netns(const struct links *links);

/*
 * Calls `fn` for the changes that are there, and does not wait. It stops after some hundred: more may be left. -ENOBUFS: changes
 * were lost, and those that the kernel had kept are thrown away, since they are older than those lost.
 */
int links__read(struct links *links, netlink_link_fn fn, void *arg);

/*
 * What there is now: an array in *list, freed by the caller. Blocks while others configure the network: for a worker; may run while
 * links__read() runs. -E2BIG beyond 65,536 interfaces.
 */
int links__list(const struct links *links, struct netlink_link **list, size_t *count,
		struct error *error);

#endif
