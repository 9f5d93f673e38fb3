/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes captures as pcapng (draft-ietf-opsawg-pcapng): a section header, a description of each interface as it first appears, packets with times in
 * ns and their direction, and at the end what each interface has seen and lost. The file is its owner's alone, and is never somebody else's: it
 * must not be there yet.
 */
#ifndef PERILUNE_PCAPNG_H
#define PERILUNE_PCAPNG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct pcapng;

struct pcapng_packet {
	uint64_t time; /* ns since the epoch */
	uint32_t ifindex;
	const char *interface; /* its name; NULL: unknown */
	uint32_t wire;	       /* bytes that it had */
	uint32_t kept;	       /* and that are here */
	bool egress;
	uint32_t
		segments; /* packets on the wire that it stands for; more than 1 is said in a comment */
	const void *bytes;
};

/*
 * `comment` tells readers what it is; snap: bytes of a packet that are kept at most; patient: whether a write waits where the disk is slower than
 * what comes. -EEXIST when the file is there.
 */
int pcapng__create(const char *path, const char *comment, uint32_t snap, bool patient,
		   struct pcapng **out, struct error *error);

/* Bytes that this packet will take, at most. */
size_t pcapng__size(const struct pcapng_packet *packet);

/* It is written behind (spool.h). -ENOBUFS, and the packet is not in the file, where too many wait for that. */
int pcapng__write(struct pcapng *file, const struct pcapng_packet *packet);

/* Bytes written so far. */
uint64_t pcapng__bytes(const struct pcapng *file);

/* Its end: statistics, with `lost` packets that are missing. Nobody waits until that is written. Nothing is written any more. */
void pcapng__end(struct pcapng *file, uint64_t lost);

/* After pcapng__end(): whether the file is complete, so that pcapng__close() waits for nothing. */
bool pcapng__has_ended(struct pcapng *file);

/* Waits until all is written, and frees. NULL-safe. -errno when something could not be written. */
int pcapng__close(struct pcapng *file);

#endif
