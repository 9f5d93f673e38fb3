/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of pinned share: pinned.c (having it), pinned_look.c (the directory and the ledger's map as such).
 */
#ifndef PERILUNE_PINNED_IMPL_H
#define PERILUNE_PINNED_IMPL_H

#include "pinned.h"

#define PINNED_PIN 256 /* bytes of a pin's path, with its NUL */

struct pinned {
	char name[64]; /* of the policy */
	char root[PINNED_PATH - 80], policy[PINNED_PATH - 16], run[PINNED_PATH - 12];
	int lock; /* `run`, locked; -1: not yet */
	struct ledger *ledger;
	bool found;
};

/* Fills name, root, policy and run. */
void pinned_path__of(const char *root, const char *policy, struct pinned *pinned);
/* Removes what is in `run`, links first. */
void pinned_path__empty(const struct pinned *pinned);

/* Makes the ledger's map, pinned at `path`, and maps it. */
int pinned_ledger__create(const char *path, struct ledger **out, struct error *error);
/* -ENOENT: there is none; -EPROTO: one of another kind, whose version is left in `version`. */
int pinned_ledger__open(const char *path, struct ledger **out, char version[32]);
void pinned_ledger__close(struct ledger *ledger); /* NULL-safe */

#endif
