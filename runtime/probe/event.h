/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: from a ring buffer of the kernel to the loop, as they come.
 *
 * The loop is woken by the first event that has not been seen, and then takes what there is, oldest first. What found no room in the ring is
 * counted by the program that sent it (bpf/ring.h). A ring is read by one reader only.
 */
#ifndef PERILUNE_EVENT_H
#define PERILUNE_EVENT_H

#include <stddef.h>

#include "base/error.h"
#include "extract/extract.h"
#include "loop/loop.h"
#include "probe/probe.h"

#define EVENT_AT_ONCE 4096 /* events taken together at most; the loop comes back for more */

struct event_ring;

/* An event's bytes, 8-byte aligned, in the ring's own memory: valid during the call. */
typedef void (*event_fn)(const void *event, size_t size, void *arg);

/* After some events, at least one. May free the ring. */
typedef void (*event_done_fn)(void *arg);

/*
 * Calls `fn` on the loop for every event of a loaded probe's ring buffer `map`, and after those that came together `done`, which may be
 * NULL. Does not keep the loop running. The ring may outlive the probe. -ENOENT when there is no such ring buffer.
 */
int event__open(struct loop *loop, struct probe *probe, const char *map, event_fn fn,
		event_done_fn done, void *arg, struct event_ring **out, struct error *error);

/* Takes what is there now, without waiting for the loop: fn for each, then `done`. Returns how many. */
int event__consume(struct event_ring *ring);

void event__free(struct event_ring *ring); /* NULL-safe */

/* Events of one type, as records. */
struct event_batch;

/* Events that came together, oldest first. Whoever wants to keep them takes their memory, as lua_batch__push does. May free the ring. */
typedef void (*event_batch_fn)(struct batch *batch, void *arg);

/* As event__open; the events are of the struct `type` of the probe's BTF. -ENOENT when there is none. An event of another size is left out. */
int event_batch__open(struct loop *loop, struct probe *probe, const char *map, const char *type,
		      event_batch_fn fn, void *arg, struct event_batch **out, struct error *error);
int event_batch__consume(struct event_batch *events); /* 0 once it is closed */
/* No more events come; the layout of batches that were given out stays. */
void event_batch__close(struct event_batch *events);
void event_batch__free(struct event_batch *events); /* NULL-safe */

#endif
