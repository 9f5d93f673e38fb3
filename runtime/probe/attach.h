/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kinds of attachment, as a table of operations.
 *
 * Own links only: no foreign program, qdisc or filter is ever replaced or removed. Wherever the kernel has a bpf_link it
 * is used, so that the kernel detaches when the process dies. All calls may block for some 10 ms: they belong on a worker.
 */
#ifndef PERILUNE_ATTACH_H
#define PERILUNE_ATTACH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum hook { HOOK_XDP, HOOK_TC_INGRESS, HOOK_TC_EGRESS };
#define HOOKS 3 /* how many there are */

enum attach_mode {
	ATTACH_AUTO,	/* XDP: native, then generic. TC: TCX, then clsact */
	ATTACH_NATIVE,	/* XDP in the driver */
	ATTACH_GENERIC, /* XDP on the skb */
	ATTACH_TCX,
	ATTACH_CLSACT,
};

struct attachment;

struct attach_ops {
	enum attach_mode mode;
	const char *name; /* "native", "generic", "tcx", "clsact" */
	/* -EOPNOTSUPP: this kernel or driver has no such thing, try the next; -EBUSY: taken, the error names by what. */
	int (*attach)(enum hook hook, int ifindex, int prog_fd, struct attachment **out,
		      struct error *error);
	/* Puts another program of the same kind in its place, in one step. */
	int (*replace)(struct attachment *attachment, int prog_fd, struct error *error);
	int (*detach)(struct attachment *attachment); /* also frees */
	void (*leave)(
		struct attachment *
			attachment); /* frees it, and whatever else keeps it stays as it is; NULL: it cannot stay */
	/* Whether it is still there: not after its interface has gone, even when a new one has the same index. */
	bool (*alive)(const struct attachment *attachment);
};

extern const struct attach_ops attach_xdp_native, attach_xdp_generic, attach_tcx, attach_clsact;

/* Every attachment starts with this. */
struct attachment {
	const struct attach_ops *ops;
	enum hook hook;
	int ifindex;
};

const char *hook__name(enum hook hook); /* "xdp", "tc.ingress", "tc.egress" */

/* Attaches with the first mode of the table that works for `hook`, or just with `mode`. */
int attach__attach(enum hook hook, int ifindex, enum attach_mode mode, int prog_fd,
		   struct attachment **out, struct error *error);
int attach__replace(struct attachment *attachment, int prog_fd, struct error *error);
/* NULL-safe; frees. */
int attach__detach(struct attachment *attachment);
/* Frees it without detaching, where something else than this process keeps it. */
void attach__leave(struct attachment *attachment);
bool attach__alive(const struct attachment *attachment);

/* Removes clsact filters that an earlier process of ours recorded under /run/perilune and did not live to remove. */
int attach__sweep(void);

#endif
