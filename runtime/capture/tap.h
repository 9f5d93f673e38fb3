/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Captures that go on: which packets the programs copy (bpf/tap.h), and the files that they go to (pcapng.h).
 *
 * Packets come through a ring buffer to the loop, which hands them to a thread that writes (spool.h). What finds no room in the ring, or waits
 * to be written beyond what may, is counted.
 */
#ifndef PERILUNE_TAP_H
#define PERILUNE_TAP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "capture/pcapng.h"
#include "loop/loop.h"
#include "probe/probe.h"

struct tap;

/* What a capture takes, and how much of it. */
struct tap_spec {
	const char *path, *comment;
	uint32_t snap;		 /* bytes of a packet */
	uint64_t packets, bytes; /* the file's at most */
	uint64_t until;		 /* ns since the epoch: no packet after that */
	bool everything;
	bool patient; /* in a replay: packets wait for the disk; else those are lost that it has no time for */
	int set; /* what is in the set of this number; -1: none */
};

struct tap_result {
	uint64_t packets, bytes;
	uint64_t
		lost; /* packets that found no room in the ring meanwhile, of this and other captures, and those of this one that
			* could not be written in time */
	const char
		*why; /* "packets", "bytes", "time", "error" when it ended by itself, else NULL */
	int code;     /* -errno when it could not be written so far */
};

/* For a loaded probe whose programs have captures. */
int tap__open(struct loop *loop, struct probe *probe, struct tap **out, struct error *error);

/* Begins a capture; *slot is its number. -EBUSY when there are as many as there can be. */
int tap__start(struct tap *tap, const struct tap_spec *spec, int *slot, struct error *error);

/* A capture's suspect: an address, or a port; field: "src", "dst", "sport", "dport". */
int tap__suspect(struct tap *tap, int slot, const char *member, const char *field,
		 struct error *error);

/* The name that an interface has in files. */
void tap__interface(struct tap *tap, uint32_t ifindex, const char *name);

/* Takes what is in the ring when it is called. In a replay, `frame` is the whole frame that it is about, which programs have seen only the beginning of; else NULL. */
void tap__consume(struct tap *tap, const void *frame, uint32_t len);

/* Whether a capture has ended by itself. */
bool tap__ended(const struct tap *tap, int slot);

/*
 * Ends a capture, with all that came until now; the slot is free. Its file is *file, the caller's now: it has been ended, may still have to be
 * written, and outlives the tap.
 */
void tap__stop(struct tap *tap, int slot, struct tap_result *result, struct pcapng **file);

void tap__close(struct tap *tap); /* NULL-safe; captures that go on are ended, and waited for */

#endif
