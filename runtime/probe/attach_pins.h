/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links that outlive their process: each is pinned in a directory of the BPF file system, under a name that says where it is attached.
 *
 *	IFINDEX-HOOK-MODE-NETNS		3-tc_ingress-tcx-4026531840
 *
 * Links that are found there are held, and whoever attaches to the same place is given that link: no packet passes by meanwhile. Filters of
 * clsact are no links, and not to be had here.
 */
#ifndef PERILUNE_ATTACH_PINS_H
#define PERILUNE_ATTACH_PINS_H

#include "probe/attach.h"

struct attach_pins;

/* The directory is made if it is not there. take_up: of what is pinned in it; links whose interface has gone are removed. */
int attach_pins__open(const char *directory, bool take_up, struct attach_pins **out,
		      struct error *error);

/*
 * As attach__attach, in the network namespace that the calling thread is in. A link of another mode gives way to one of the mode that is asked
 * for, and no packet is seen for some ms; where that cannot be had, it stays as it was.
 */
int attach_pins__attach(struct attach_pins *pins, enum hook hook, int ifindex,
			enum attach_mode mode, int prog_fd, struct attachment **out,
			struct error *error);

/* Detaches those that were found and that nobody has asked for. Returns how many, or the first -errno. */
int attach_pins__drop(struct attach_pins *pins);

/* Leaves everything as it is. NULL-safe. */
void attach_pins__close(struct attach_pins *pins);

#endif
