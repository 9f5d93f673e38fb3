/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attachments that are a bpf_link: what XDP and TCX share. The kernel detaches when the descriptor is closed, be it by
 * the death of the process; not so when the link is pinned.
 */
#ifndef PERILUNE_ATTACH_LINK_H
#define PERILUNE_ATTACH_LINK_H

#include <stdint.h>

#include "probe/attach.h"

#define ATTACH_LINK_PATH 256 /* bytes of a pin's path, with its NUL */

/* Where: the interface, the hook and the mode's table entry. */
struct attach_link_place {
	const struct attach_ops *ops;
	enum hook hook;
	int ifindex;
	int type;	/* enum bpf_attach_type */
	uint32_t flags; /* of bpf_link_create */
};

/* 0 or the kernel's -errno, unexplained. */
int attach_link__create(const struct attach_link_place *place, int prog_fd,
			struct attachment **out);

/* Of a link that is pinned at `path`: the descriptor is the attachment's from then on, also on failure. `place` says what it is. */
int attach_link__adopt(const struct attach_link_place *place, int fd, const char *path,
		       struct attachment **out);

/* Pins it: the kernel then detaches only when it is told to, by attach_link__detach. -errno, and nothing has changed. */
int attach_link__pin(struct attachment *attachment, const char *path);

/* For the table of operations. */
int attach_link__replace(struct attachment *attachment, int prog_fd, struct error *error);
int attach_link__detach(struct attachment *attachment);
void attach_link__leave(struct attachment *attachment);
bool attach_link__alive(const struct attachment *attachment);

#endif
