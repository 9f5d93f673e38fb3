/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps of a policy that other programs may use, pinned on the BPF file system:
 *
 *	/sys/fs/bpf/perilune/POLICY/sets/NAME	gone when the policy ends
 *	/sys/fs/bpf/perilune/POLICY/kept/NAME	stays, and is used again when the policy starts again
 *
 * The policy's directory is locked while it runs, so that a lock which can be had tells of a process that was killed: what it left below
 * sets/ is swept at the next start of any policy. Dots, which that file system keeps for itself, become underscores.
 */
#ifndef PERILUNE_PINS_H
#define PERILUNE_PINS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "probe/probe.h"

#define PINS_PATH 256 /* bytes of a path, with its NUL */

struct pins;

/* A name as it stands on that file system. */
void pins__flat_name(const char *name, char *out, size_t size);

/* Says that there is no such file system at `root`, and what to do; -EOPNOTSUPP. */
int pins__no_place(const char *root, struct error *error);

/*
 * Takes the directory of a policy, after having swept. -EOPNOTSUPP when there is no BPF file system, -EBUSY when a policy of that name
 * runs already.
 */
int pins__open(const char *policy, struct pins **out, struct error *error);

/*
 * Before the probe is loaded: it shall use the map that is pinned under `name`, if there is one: among those that are kept, or those of
 * this run. -EEXIST when that is another kind of map.
 */
int pins__reuse(struct pins *pins, struct probe *probe, const char *map, const char *name,
		bool keep, struct error *error);

/* Pins a map of a loaded probe, and writes where. A map that was kept stays as it is, but for what was in it: that is gone. */
int pins__add(struct pins *pins, struct probe *probe, const char *map, const char *name, bool keep,
	      char path[PINS_PATH], struct error *error);

/* Removes one that is not to be kept. */
void pins__remove(struct pins *pins, const char *name);

/* Removes what is not to be kept, and lets go of the directory. NULL-safe. */
void pins__close(struct pins *pins);

#endif
