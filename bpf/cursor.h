/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * A bounded way through a frame: nothing is read that lies behind the data, or behind what an outer
 * header says there is.
 */
#ifndef PERILUNE_CURSOR_H
#define PERILUNE_CURSOR_H

/* `pos` never passes `end` where it was read; `at` is its offset in the frame. */
struct cursor {
	void *pos;
	void *end;
	__u32 at;
	__u32 left; /* octets that the headers so far say are left */
	bool cut; /* data ended where headers said there was more: perhaps behind the linear part */
};

/* The next header of this type, which is then behind the cursor; NULL when the frame or the IP
 * packet ends before. */
#define cursor__take(c, TYPE)                                                                      \
	({                                                                                         \
		TYPE *header_ = (c)->pos;                                                          \
		if ((c)->left < sizeof(TYPE)) {                                                    \
			header_ = NULL;                                                            \
		} else if ((void *)(header_ + 1) > (c)->end) {                                     \
			(c)->cut = true;                                                           \
			header_ = NULL;                                                            \
		} else {                                                                           \
			(c)->pos = header_ + 1;                                                    \
			(c)->at += sizeof(TYPE);                                                   \
			(c)->left -= sizeof(TYPE);                                                 \
		}                                                                                  \
		header_;                                                                           \
	})

/* Moves on by a length that a header named; false when the packet is shorter than that. */
static __always_inline bool cursor__skip(struct cursor *c, __u32 bytes)
{
	if (bytes > c->left)
		return false;
	c->pos += bytes;
	c->at += bytes;
	c->left -= bytes;
	return true;
}

#endif
