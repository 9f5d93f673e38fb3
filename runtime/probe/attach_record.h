/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What survives a crash must be on record: one small file under /run/perilune for every clsact filter of ours.
 *
 * A record is written before its filter is attached and removed after it has been detached, so that there is never a
 * filter without one. All changes happen under a lock on the directory, which exists only while it holds something.
 */
#ifndef PERILUNE_ATTACH_RECORD_H
#define PERILUNE_ATTACH_RECORD_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#define ATTACH_RECORD_DIR "/run/perilune"
#define ATTACH_RECORD_BOOT 40 /* a UUID as text */

/* The process that attached: a pid alone comes back. */
struct attach_record_owner {
	int pid;
	uint64_t start;		       /* clock ticks since boot */
	uint64_t pidns, netns;	       /* inode numbers */
	char boot[ATTACH_RECORD_BOOT]; /* boot id */
};

struct attach_record_prog {
	uint32_t id; /* 0: none */
	uint64_t tag;
};

struct attach_record {
	struct attach_record_owner owner;
	int ifindex;
	char ifname[IF_NAMESIZE]; /* for people; it may have been renamed since */
	uint32_t parent, priority, handle;
	bool qdisc; /* the clsact qdisc is there because of us */
	/* The filter holds the first, or while it is being replaced one of the two. */
	struct attach_record_prog prog[2];
};

/* Fills what describes the calling process and its network namespace. */
int attach_record__owner(struct attach_record_owner *owner);

/* Whether that process may still be there: true as well when that cannot be known from here. */
bool attach_record__alive(const struct attach_record_owner *owner,
			  const struct attach_record_owner *self);

/* Makes the directory if asked to, and locks it. -ENOENT when it is not there. */
int attach_record__lock(bool create, int *dir);
/* Removes the directory when nothing is in it. */
void attach_record__unlock(int dir);

int attach_record__write(int dir, const struct attach_record *record);
int attach_record__remove(int dir, const struct attach_record *record);

/* Calls `fn` for every record that can be read; it may remove the one that it is given. Also removes torn files. */
int attach_record__each(int dir, void (*fn)(int dir, const struct attach_record *record, void *arg),
			void *arg);

#endif
