/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of pinned share: pinned.c (having it), pinned_look.c (the directory and the ledger's map as such), pinned_succeed.c (another
 * declaration of the policy takes its place).
 */
#ifndef PERILUNE_PINNED_IMPL_H
#define PERILUNE_PINNED_IMPL_H

#include "probe/pinned.h"

#define PINNED_PIN 256 /* bytes of a pin's path, with its NUL */

struct pinned {
	char name[64]; /* of the policy */
	char root[PINNED_PATH - 80], policy[PINNED_PATH - 16], run[PINNED_PATH - 12];
	char beside
		[PINNED_PATH -
		 12]; /* of a policy that takes this one's place, then of what is left of this one */
	int lock;     /* `run`, locked; -1: not yet */
	int beside_lock; /* -1: there is nothing beside */
	struct ledger *ledger;
	struct ledger
		*before; /* of the policy whose place was taken; NULL: none, or it is settled */
	bool found;
};

/* Fills name, root, policy and run. */
void pinned_path__of(const char *root, const char *policy, struct pinned *pinned);
/* Removes what is in `run`, links first. */
void pinned_path__empty(const struct pinned *pinned);

/* Where an object of this kind ("maps", "programs") and name is pinned. */
void pinned_path__to(const struct pinned *pinned, const char *kind, const char *name,
		     char path[PINNED_PIN]);
/* Removes the directory beside. */
void pinned_beside__remove(const struct pinned *pinned);
/* Pins maps and programs below `run`. */
int pinned_maps__pin(const struct pinned *pinned, struct probe *probe, struct error *error);

/* Whose it is, of this process. */
void pinned_ledger__describe(struct ledger *ledger, const struct pinned *pinned,
			     const struct pinned_about *about);
/* Makes the ledger's map, pinned at `path`, and maps it. */
int pinned_ledger__create(const char *path, struct ledger **out, struct error *error);
/* -ENOENT: there is none; -EPROTO: one of another kind, whose version is left in `version`. */
int pinned_ledger__open(const char *path, struct ledger **out, char version[32]);
void pinned_ledger__close(struct ledger *ledger); /* NULL-safe */

#endif
