/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring is mapped as the consumer's page, the producer's page, and its data twice in a row, so that every record lies in one piece.
 */
#include "map/map_ring.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/bpf.h>

#define OVERWRITE (1U << 19) /* BPF_F_RB_OVERWRITE, of Linux 6.19: the oldest gives way */
#define OVERWRITTEN (2 * sizeof(unsigned long)) /* where the producer's page says how far */

struct map_ring {
	const struct map *map;
	unsigned char *consumer, *producer; /* mappings */
	const unsigned char *data;
	size_t page, size;
	bool take, bounded;
	unsigned long at, end; /* positions: the next record's, and where a bounded reading ends */
	unsigned char *copy;
	size_t room;
	uint64_t missed, unfinished;
};

static unsigned long position(const void *at)
{
	return __atomic_load_n((const unsigned long *)at, __ATOMIC_ACQUIRE);
}

/* The oldest record that is still there. */
static unsigned long oldest(const struct map_ring *ring)
{
	unsigned long at = position(ring->consumer), lost;

	if (!(ring->map->flags & OVERWRITE))
		return at;
	lost = position(ring->producer + OVERWRITTEN);
	return (long)(lost - at) > 0 ? lost : at;
}

static int map_pages(struct map_ring *ring)
{
	int fd = ring->map->fd;
	void *p;

	p = mmap(NULL, ring->page, ring->take ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd,
		 0);
	if (p == MAP_FAILED)
		return -errno;
	ring->consumer = p;
	p = mmap(NULL, ring->page + 2 * ring->size, PROT_READ, MAP_SHARED, fd, (off_t)ring->page);
	if (p == MAP_FAILED)
		return -errno;
	ring->producer = p;
	ring->data = ring->producer + ring->page;
	return 0;
}

int map_ring__open(const struct map *map, bool take, struct map_ring **out, struct error *error)
{
	struct map_ring *ring;
	int err;

	if (take && map->type != BPF_MAP_TYPE_RINGBUF) {
		error__set(error, -EOPNOTSUPP, "what is in a %s is for a program to take",
			   map->kind->name);
		return error__hint(error, -EOPNOTSUPP, "look at it without --drain");
	}
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return error__set(error, -ENOMEM, "out of memory");
	*ring = (struct map_ring){.map = map,
				  .take = take,
				  .page = (size_t)sysconf(_SC_PAGESIZE),
				  .size = map->max_entries};
	err = map_pages(ring);
	if (err) {
		map_ring__free(ring);
		return map__explain(error, err, "cannot map the ring buffer");
	}
	ring->at = oldest(ring);
	*out = ring;
	return 0;
}

void map_ring__free(struct map_ring *ring)
{
	if (!ring)
		return;
	if (ring->producer)
		munmap(ring->producer, ring->page + 2 * ring->size);
	if (ring->consumer)
		munmap(ring->consumer, ring->page);
	free(ring->copy);
	free(ring);
}

void map_ring__bound(struct map_ring *ring)
{
	ring->bounded = true;
	ring->end = position(ring->producer);
}

/* Whether nothing can have been written yet over what lies from `at` on; a header may be there before the position says so. */
static bool intact(const struct map_ring *ring, unsigned long at)
{
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return position(ring->producer) + BPF_RINGBUF_HDR_SZ - at <= ring->size;
}

static bool grow(struct map_ring *ring, size_t len)
{
	unsigned char *copy;

	if (len <= ring->room)
		return true;
	copy = realloc(ring->copy, len);
	if (!copy)
		return false;
	ring->copy = copy;
	ring->room = len;
	return true;
}

/* Others were faster: goes on at the oldest record that there is. */
static int skip(struct map_ring *ring)
{
	unsigned long at = oldest(ring);

	if ((long)(at - ring->at) <= 0)
		return -EIO; /* no ring looks so */
	ring->missed += at - ring->at;
	ring->at = at;
	return 0;
}

int map_ring__next(struct map_ring *ring, const unsigned char **bytes, size_t *len)
{
	for (;;) {
		unsigned long end = ring->bounded ? ring->end : position(ring->producer);
		const unsigned char *at = ring->data + (ring->at & (ring->size - 1));
		uint32_t header;
		size_t whole;

		if ((long)(end - ring->at) <= 0)
			return 0;
		header = __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE);
		*len = header & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		whole = (*len + BPF_RINGBUF_HDR_SZ + 7) & ~(size_t)7;
		if (intact(ring, ring->at) && whole <= ring->size) {
			if ((header & BPF_RINGBUF_BUSY_BIT) && (ring->take || !ring->bounded))
				return 0; /* what follows it can be had only after it */
			if (!grow(ring, *len ? *len : 1))
				return -ENOMEM;
			memcpy(ring->copy, at + BPF_RINGBUF_HDR_SZ, *len);
			if (intact(ring, ring->at)) {
				ring->at += whole;
				ring->unfinished += !!(header & BPF_RINGBUF_BUSY_BIT);
				if (header & (BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT))
					continue;
				*bytes = ring->copy;
				return 1;
			}
		}
		if (skip(ring))
			return -EIO;
	}
}

void map_ring__release(struct map_ring *ring)
{
	if (ring->take)
		__atomic_store_n((unsigned long *)(void *)ring->consumer, ring->at,
				 __ATOMIC_RELEASE);
}

uint64_t map_ring__missed(const struct map_ring *ring)
{
	return ring->missed;
}

uint64_t map_ring__unfinished(const struct map_ring *ring)
{
	return ring->unfinished;
}
